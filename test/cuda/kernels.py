#!/usr/bin/env python3
"""GPU kernels on random shapes, thread by thread on the CPU, against --opt=0.

    kernels.py [--seed=N] [--count=N] [--only=KIND]

Every case is a small ONNX model, compiled with --gpu=emulate (test/support/simt/simt.c: each GPU thread is a fiber;
barriers and shuffles by their definition; bounds, alignment and races are checked) and with --opt=0, with fixed sizes or
sizes known at run time. Errors may be 1e-5 of an output's scale.
Ends with `N passed, N failed`; exit code 1 if any case fails.
"""
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402
import seeds  # noqa: E402

SIMT = os.path.join(nnopt.ROOT, "test", "support", "simt", "simt.c")


class Case:
    def __init__(self, seed):
        self.rng, self.data = random.Random(seed), np.random.default_rng(seed)
        self.inputs, self.feeds, self.constants, self.nodes = [], {}, [], []
        self.dynamic = self.rng.random() < 0.3

    def size(self, *choices):
        return self.rng.choice(choices or (1, 2, 3, 5, 8, 17, 32, 33, 64, 70))

    def input(self, shape):
        name = f"x{len(self.inputs)}"
        dims = [f"{name}_{i}" if self.dynamic and self.rng.random() < 0.5 else d for i, d in enumerate(shape)]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        self.feeds[name] = self.data.standard_normal(shape).astype(np.float32)
        return name

    def const(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape):
        return self.const(self.data.standard_normal(shape).astype(np.float32))

    def node(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def save(self, path, result):
        value = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [value], self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)


def elementwise(c):
    shape = [c.size() for _ in range(c.rng.randrange(1, 4))]
    other = [1 if c.rng.random() < 0.3 else d for d in shape][c.rng.randrange(len(shape)):]
    y = c.node(c.rng.choice(["Add", "Mul", "Sub", "Max"]), c.input(shape), c.input(other or [1]))
    for op in c.rng.sample(["Sigmoid", "Tanh", "Relu", "Exp", "Erf", "Softplus", "Abs"], 2):
        y = c.node(op, y)
    return y


def reduction(c):
    shape = [c.size(), c.size(), c.size(1, 4, 33)]
    axes = c.rng.choice([[0], [1], [2], [1, 2], [0, 2]])
    return c.node(c.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax"]), c.input(shape), c.const(np.array(axes)),
                  keepdims=c.rng.randrange(2))


def softmax(c):
    return c.node("Softmax", c.input([c.size(), c.size(1, 3, 17, 64, 200, 1030)]), axis=c.rng.choice([-1, -1, 0]))


def normalization(c):
    n = c.size(1, 3, 16, 64, 100, 520)
    x = c.input([c.size(), c.size(1, 3), n])
    if c.dynamic:
        c.inputs[0].type.tensor_type.shape.dim[2].dim_value = n
    if c.rng.random() < 0.5:
        return c.node("RMSNormalization", x, c.weight(n))
    return c.node("LayerNormalization", x, c.weight(n), *([c.weight(n)] if c.rng.random() < 0.7 else []))


def matmul(c):
    m, n, k = c.size(), c.size(1, 4, 16, 33, 64, 130), c.size(1, 3, 8, 32, 65)
    batch = c.rng.choice([[], [], [2], [2, 3]])
    c.dynamic &= not batch
    a = c.input(batch + [m, k])
    if c.dynamic:
        c.inputs[0].type.tensor_type.shape.dim[len(batch) + 1].dim_value = k
    y = c.node("MatMul", a, c.weight(k, n) if c.rng.random() < 0.6 else c.input(batch + [k, n]) if not c.dynamic else c.weight(k, n))
    if c.rng.random() < 0.6:
        y = c.node("Add", y, c.weight(n))
    return c.node("Relu", y) if c.rng.random() < 0.5 else y


def convolution(c):
    group = c.rng.choice([1, 1, 1, 2])
    ci, co = group * c.size(1, 3, 8, 20), group * c.size(1, 4, 16, 33)
    k, stride, dilation = c.size(1, 3, 5), c.size(1, 1, 2), c.size(1, 1, 2)
    size = [max(c.size(5, 9, 14), dilation * (k - 1) + 1) for _ in range(2)]
    c.dynamic = False
    x = c.input([c.size(1, 2), ci] + size)
    y = c.node("Conv", x, c.weight(co, ci // group, k, k), *([c.weight(co)] if c.rng.random() < 0.7 else []), group=group,
               strides=[stride] * 2, dilations=[dilation] * 2, pads=[c.rng.randrange(k) for _ in range(4)])
    return c.node("Relu", y) if c.rng.random() < 0.5 else y


def depthwise(c):
    ch, k, stride = c.size(1, 4, 24, 33), c.size(3, 5), c.size(1, 2)
    c.dynamic = False
    x = c.input([c.size(1, 2), ch, c.size(5, 9, 14), c.size(5, 8)])
    y = c.node("Conv", x, c.weight(ch, 1, k, k), c.weight(ch), group=ch, strides=[stride] * 2, pads=[k // 2] * 4)
    return c.node("HardSwish", y)


def movement(c):
    shape = [c.size(1, 2, 5), c.size(2, 8, 17), c.size(4, 33), c.size(1, 6)]
    y = c.node("Transpose", c.input(shape), perm=c.rng.sample(range(4), 4))
    y = c.node("Slice", y, c.const(np.array([0, 0])), c.const(np.array([100, -1])), c.const(np.array([0, 1])))
    return c.node("Tanh", c.node("Concat", y, y, axis=c.rng.randrange(4)))


def pooling(c):
    x = c.input([c.size(1, 2), c.size(3, 8), c.size(6, 9), c.size(6, 11)])
    return c.node(c.rng.choice(["MaxPool", "AveragePool"]), x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def attention(c):
    heads, width, keys = c.size(1, 3), c.size(8, 16, 40, 64), c.size(1, 7, 33, 70)
    queries = keys if c.rng.random() < 0.5 else c.size(1, 5, 40)
    c.dynamic = False
    q, k, v = (c.input([c.size(1, 2) if i == 0 else c.feeds["x0"].shape[0], heads, n, width])
               for i, n in enumerate([queries, keys, keys]))
    return c.node("Attention", q, k, v, is_causal=int(queries == keys and c.rng.random() < 0.5))


KINDS = {f.__name__: f for f in (elementwise, reduction, softmax, normalization, matmul, convolution, depthwise, movement,
                                 pooling, attention)}


def simt(folder):
    """The emulator's object file."""
    out = os.path.join(folder, "simt.o")
    if not os.path.exists(out):
        subprocess.run(["/usr/lib/llvm-22/bin/clang", "-O2", "-fPIC", "-c", SIMT, "-o", out], check=True)
    return out


def run(seed, kind, folder, arguments):
    c = Case(seed * 7919 + sorted(KINDS).index(kind))
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    c.save(model, KINDS[kind](c))
    title = f"{kind} --seed={seed}{' dynamic' if c.dynamic else ''} {[list(v.shape) for v in c.feeds.values()]}"
    results = []
    for flags in (["--opt=0"], ["--gpu=emulate", f"--link={simt(folder)}"]):
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            # A process of its own: the emulator ends it where a kernel breaks a rule.
            feeds, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
            np.savez(feeds, **c.feeds)
            process = subprocess.run([nnopt.tool("nnopt-run"), out, f"--inputs={feeds}", f"--outputs={result}", "--quiet",
                                      "--threads=1"], capture_output=True, text=True, timeout=120)
            if process.returncode:
                return [f"{title} {flags}: exit {process.returncode}: {(process.stderr + process.stdout).strip()[-300:]}"]
            with np.load(result) as arrays:
                results.append(arrays[arrays.files[0]])
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            return [f"{title} {flags}: {e}"]
    error = nnopt.difference(results[1], results[0])
    return [] if error <= 1e-5 else [f"{title}: error {error:.2e}"]


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 6, run))
