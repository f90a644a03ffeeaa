#!/usr/bin/env python3
"""Random quantized models (QDQ) through raise-quantized and the kernels of bytes, against --opt=0, element by element.

    numeric_quantized.py [--seed=N] [--count=N]

Every scale is a power of two and sums stay below 2^24, so that 32-bit floats are exact whatever the order: the default
artifact has to give the same integers as --opt=0, which computes in floats. Ends with `N passed, N failed`.
"""
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402
import seeds  # noqa: E402

TYPES = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8}


class Network:
    """A chain of layers on an image; after each the value is quantized and dequantized."""

    def __init__(self, seed):
        self.rng, self.data = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.constants, self.count = [], [], 0
        self.text = []

    def const(self, value):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.count}"))
        return f"c{self.count}"

    def node(self, op, inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(op, inputs, [f"v{self.count}"], name=f"{op}_{self.count}", **attributes))
        return f"v{self.count}"

    def power(self, low, high, shape=()):
        return (2.0 ** self.data.integers(low, high + 1, shape)).astype(np.float32)

    def quantized(self, x, parameters=None):
        """x through QuantizeLinear and DequantizeLinear; parameters are (scale, zero point) of constants."""
        if parameters is None:
            kind = self.rng.choice([np.uint8, np.uint8, np.int8])
            zero = self.data.integers(0, 200) if kind is np.uint8 else self.data.integers(-60, 60)
            parameters = self.const(self.power(-3, 0)), self.const(kind(zero))
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters]), parameters

    def weights(self, shape, axis):
        """Quantized weights; scales and zero points for each position along `axis`, or one."""
        kind = self.rng.choice([np.int8, np.int8, np.uint8])
        info = np.iinfo(kind)
        per_axis = self.rng.random() < 0.6
        sizes = (shape[axis],) if per_axis else ()
        symmetric = kind is np.int8 and self.rng.random() < 0.7
        zeros = np.zeros(sizes, kind) if symmetric else self.data.integers(info.min, info.max + 1, sizes).astype(kind)
        q = self.const(self.data.integers(info.min, info.max + 1, shape).astype(kind))
        self.w_scale = self.power(-8, -6, sizes)
        extra = {"axis": axis} if per_axis else {}
        return self.node("DequantizeLinear", [q, self.const(self.w_scale), self.const(zeros)], **extra)

    def bias(self, n, isFloat=False):
        if isFloat or self.rng.random() < 0.5:
            return self.const(self.data.integers(-64, 64, n).astype(np.float32) / 16)
        q = self.const(self.data.integers(-2000, 2000, n).astype(np.int32))
        scale = np.broadcast_to(self.x_scale * self.w_scale, (n,)).astype(np.float32)
        return self.node("DequantizeLinear", [q, self.const(scale)], axis=0)

    def build(self, path):
        rng = self.rng
        c, size = rng.choice([3, 4, 8, 20]), rng.choice([5, 8, 11])
        dynamic = rng.random() < 0.4
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n" if dynamic else 2, c, size, size])
        self.feed = (self.data.integers(-40, 40, (2, c, size, size)) / 8).astype(np.float32)
        x, parameters = self.quantized("x")
        skip = None
        for _ in range(rng.randrange(2, 6)):
            self.x_scale = numpy_helper.to_array(next(t for t in self.constants if t.name == parameters[0]))
            kind = rng.choice(["conv", "conv", "conv", "depthwise", "pool", "add", "mean", "transposes"])
            keep = None
            if kind in ("conv", "depthwise"):
                k = rng.choice([1, 3])
                out = c if kind == "depthwise" else rng.choice([4, 8, 17, 32])
                shape = (out, 1 if kind == "depthwise" else c, k, k)
                # Now and then a layer of floats among those of integers; 1x1, which no Winograd algorithm rounds.
                isFloat = k == 1 and rng.random() < 0.3
                w = self.const(self.data.integers(-3, 4, shape).astype(np.float32)) if isFloat else self.weights(shape, 0)
                inputs = [x, w] + ([self.bias(out, isFloat)] if rng.random() < 0.7 else [])
                y = self.node("Conv", inputs, pads=[k // 2] * 4, group=c if kind == "depthwise" else 1)
                if out != c:
                    skip = None
                c = out
                if skip and rng.random() < 0.5:
                    y = self.node("Add", [skip, y] if rng.random() < 0.5 else [y, skip])
                    kind += " add"
                activation = rng.choice(["none", "relu", "clip"])
                if activation == "relu":
                    y = self.node("Relu", [y])
                elif activation == "clip":
                    y = self.node("Clip", [y, self.const(np.float32(0)), self.const(np.float32(6))])
                kind += " " + activation
                if rng.random() < 0.3:
                    y = self.node("Mul", [y, self.const(self.power(-2, 2, (c, 1, 1)))])
                    kind += " factors"
            elif kind == "pool":
                y, keep = self.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4), parameters
            elif kind == "mean":
                y = self.node("AveragePool", [x], kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)
            elif kind == "transposes":
                y = self.node("Transpose", [self.node("Transpose", [x], perm=[0, 2, 3, 1])], perm=[0, 3, 1, 2])
                keep = parameters
            else:
                if skip is None:
                    skip = x
                y = self.node("Add", [x, skip])
            self.text.append(kind)
            x, parameters = self.quantized(y, keep)
            skip = skip or x
        if rng.random() < 0.6:
            self.x_scale = numpy_helper.to_array(next(t for t in self.constants if t.name == parameters[0]))
            x = self.node("GlobalMaxPool", [x])
            x, parameters = self.quantized(self.node("Flatten", [x]), parameters)
            n = rng.choice([5, 16, 33])
            transposed = rng.random() < 0.5
            w = self.weights((n, c) if transposed else (c, n), 0 if transposed else 1)
            x = self.node("Gemm", [x, w] + ([self.bias(n)] if rng.random() < 0.7 else []), transB=int(transposed))
            if rng.random() < 0.5:
                x, _ = self.quantized(x)
            self.text.append("gemm")
        result = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", [image], [result], self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def run(seed, _, folder, arguments):
    network = Network(seed)
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    network.build(model)
    results = []
    for flags in (["--opt=0"], [], ["--target=x86-64-v3"]):
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            with nnopt.Session(out, 2) as session:
                results.append(session.run(None, {"x": network.feed})[0])
        except RuntimeError as e:
            return [f"seed {seed} {flags} {network.text}: {e}"]
        if (results[-1] != results[0]).any():
            count = (results[-1] != results[0]).sum()
            return [f"seed {seed} {flags} {network.text}: {count} of {results[0].size} differ"]
    return []


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, ["network"], 30, run))
