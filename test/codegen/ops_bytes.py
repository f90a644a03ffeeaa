#!/usr/bin/env python3
"""Matrix products and convolutions of 8-bit integers, bit by bit against numpy.

    ops_bytes.py [--seed=N] [--count=N] [--only=KIND] [--target=CPU]

Every case is a small ONNX model (MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv, QLinearConv with a residual)
of random shapes, signedness and zero points (absent, constant, known at run time; of weights also per column) that is
compiled at --opt=0, by default, by default without VNNI (x86-64-v3), and for AMX, whose instructions are emulated where this
CPU lacks them (../support/x86.py). Operands reach the ends of their types, and
scales are powers of two, so that many results are ties. Every element has to be equal.
Ends with `N passed, N failed`; exit code 1 if any case fails.
"""
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ops_contraction import channels, conv_numpy, nnopt, seeds, target_argument  # noqa: E402
import x86  # noqa: E402

TYPES = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.int32: TensorProto.INT32, np.float32: TensorProto.FLOAT}


class Case:
    def __init__(self, seed):
        self.rng, self.data = random.Random(seed), np.random.default_rng(seed)
        self.inputs, self.feeds, self.constants, self.nodes = [], {}, [], []
        self.dynamic = self.rng.random() < 0.3

    def bytes(self, kind, shape):
        """Random bytes; one in eight is an end of the range."""
        info = np.iinfo(kind)
        values = self.data.integers(info.min, info.max + 1, shape)
        ends = self.data.choice([info.min, info.max], shape)
        return np.where(self.data.random(shape) < 1 / 8, ends, values).astype(kind)

    def operand(self, name, value, constant):
        if constant:
            self.constants.append(numpy_helper.from_array(value, name))
        else:
            dims = [f"{name}{i}" if self.dynamic and i in (0,) else d for i, d in enumerate(value.shape)]
            self.inputs.append(helper.make_tensor_value_info(name, TYPES[value.dtype.type], dims))
            self.feeds[name] = value
        return name

    def x_zero(self, kind, required):
        """Absent (0), constant, or an input."""
        style = self.rng.choice(["constant", "constant", "input"] + ([] if required else ["absent"]))
        if style == "absent":
            return "", 0
        value = np.array(int(self.bytes(kind, [1])[0]), kind)
        return self.operand("x_zero", value, style == "constant"), int(value)

    def w_zero(self, kind, columns, required, per_column):
        style = self.rng.choice(["zero", "zero", "zero", "one"] + (["column"] if per_column else []) + ([] if required else ["absent"]))
        if style == "absent":
            return "", np.zeros(1, np.int64)
        value = {"zero": lambda: np.array(0, kind), "one": lambda: np.array(int(self.bytes(kind, [1])[0]), kind),
                 "column": lambda: self.bytes(kind, [columns])}[style]()
        return self.operand("w_zero", value, True), np.atleast_1d(value).astype(np.int64)

    def node(self, op, inputs, **attributes):
        while inputs and not inputs[-1]:
            inputs.pop()
        self.nodes.append(helper.make_node(op, inputs, ["y"], name="y", **attributes))

    def save(self, path, want):
        self.want = want
        result = helper.make_tensor_value_info("y", TYPES[want.dtype.type], [None] * want.ndim)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [result], self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)

    def requantized(self, acc, kind, scales, column_axis):
        """ONNX's: rounded half to even, plus the zero point, saturated."""
        zero = int(self.bytes(kind, [1])[0])
        self.operand("y_zero", np.array(zero, kind), True)
        shape = [1] * acc.ndim
        shape[column_axis] = -1
        scaled = acc.astype(np.float64) * scales.astype(np.float64).reshape(shape if scales.size > 1 else [1] * acc.ndim)
        info = np.iinfo(kind)
        return np.clip(np.rint(scaled) + zero, info.min, info.max).astype(kind)


def kinds(case):
    return case.rng.choice([np.uint8, np.int8]), case.rng.choice([np.uint8, np.int8, np.int8])


def matmul_operands(case, required):
    rng = case.rng
    m, n, k = (rng.choice([1, 2, 3, 5, 8, 13, 16, 33, 40, 64, 100, 130]) for _ in range(3))
    x_kind, w_kind = kinds(case)
    x = case.bytes(x_kind, rng.choice([[m, k], [2, m, k]]))
    w = case.bytes(w_kind, [k, n])
    names = [case.operand("x", x, False), case.operand("w", w, True)]
    x_zero, xz = case.x_zero(x_kind, required)
    w_zero, wz = case.w_zero(w_kind, n, required, True)
    case.text = f"{x.shape} x {w.shape} {x_kind.__name__} {w_kind.__name__} zeros {x_zero}={xz} {w_zero}={wz[:4]}"
    acc = (x.astype(np.int64) - xz) @ (w.astype(np.int64) - wz)
    return names, x_zero, w_zero, acc, n


def matmul_integer(case):
    names, x_zero, w_zero, acc, _ = matmul_operands(case, False)
    case.node("MatMulInteger", names + [x_zero, w_zero])
    return acc.astype(np.int32)


def power(case, low, high, shape=()):
    return (2.0 ** case.data.integers(low, high + 1, shape)).astype(np.float32)


def qlinear_matmul(case):
    names, x_zero, w_zero, acc, n = matmul_operands(case, True)
    columns = any(t.name == "w_zero" and t.dims for t in case.constants)
    scales = [power(case, -6, -4), power(case, -8, -4, (n,) if columns else ()), power(case, -3, -1)]
    for name, value in zip(("x_scale", "w_scale", "y_scale"), scales):
        case.operand(name, value, True)
    want = case.requantized(acc, case.rng.choice([np.uint8, np.int8]), scales[0] * scales[1] / scales[2], acc.ndim - 1)
    case.node("QLinearMatMul", [names[0], "x_scale", x_zero, names[1], "w_scale", w_zero, "y_scale", "y_zero"])
    return want


def conv_operands(case, required):
    rng = case.rng
    rank = rng.choice([1, 2, 2, 2, 3])
    ci, co, group = channels(rng, rng.choice(["dense", "dense", "depthwise", "grouped"]))
    kernel = [rng.choice([1, 1, 3, 3, 5, 7] if rank < 3 else [1, 2, 3]) for _ in range(rank)]
    if rng.random() < 0.7:
        kernel = [kernel[0]] * rank
    strides = [rng.choice([1, 1, 2]) for _ in range(rank)]
    dilations = [rng.choice([1, 1, 1, 2]) for _ in range(rank)]
    pads = [rng.choice([0, 1, k // 2, k // 2]) for k in kernel * 2]
    size = [max(rng.choice([5, 7, 14, 20] if rank < 3 else [4, 7]), d * (k - 1) + 1) for k, d in zip(kernel, dilations)]
    x_kind, w_kind = kinds(case)
    x = case.bytes(x_kind, [rng.choice([1, 1, 2]), ci] + size)
    w = case.bytes(w_kind, [co, ci // group] + kernel)
    names = [case.operand("x", x, False), case.operand("w", w, True)]
    x_zero, xz = case.x_zero(x_kind, required)
    w_zero, wz = case.w_zero(w_kind, co, required, required)
    case.text = (f"{ci}->{co} g{group} {size} k{kernel} s{strides} d{dilations} p{pads} {x_kind.__name__} "
                 f"{w_kind.__name__} zeros {x_zero}={xz} {w_zero}={wz[:4]}")
    centred = w.astype(np.int64) - wz.reshape([-1] + [1] * (w.ndim - 1))
    acc = conv_numpy(x.astype(np.int64) - xz, centred, strides, pads, dilations, group).astype(np.int64)
    return names, x_zero, w_zero, acc, dict(strides=strides, pads=pads, dilations=dilations, group=group)


def conv_integer(case):
    names, x_zero, w_zero, acc, attributes = conv_operands(case, False)
    case.node("ConvInteger", names + [x_zero, w_zero], **attributes)
    return acc.astype(np.int32)


def qlinear_conv(case):
    names, x_zero, w_zero, acc, attributes = conv_operands(case, True)
    columns = any(t.name == "w_zero" and t.dims for t in case.constants)
    scales = [power(case, -6, -4), power(case, -8, -4, (acc.shape[1],) if columns else ()), power(case, -3, -1)]
    for name, value in zip(("x_scale", "w_scale", "y_scale"), scales):
        case.operand(name, value, True)
    inputs = [names[0], "x_scale", x_zero, names[1], "w_scale", w_zero, "y_scale", "y_zero"]
    if case.rng.random() < 0.7:
        bias = case.data.integers(-5000, 5000, [acc.shape[1]]).astype(np.int32)
        acc = acc + bias.astype(np.int64).reshape([1, -1] + [1] * (acc.ndim - 2))
        inputs.append(case.operand("bias", bias, case.rng.random() < 0.8))
    want = case.requantized(acc, case.rng.choice([np.uint8, np.int8]), scales[0] * scales[1] / scales[2], 1)
    case.node("QLinearConv", inputs, **attributes)
    return want


KINDS = {"matmul": matmul_integer, "qmatmul": qlinear_matmul, "conv": conv_integer, "qconv": qlinear_conv}


def run(seed, kind, folder, arguments):
    """What is wrong with one case, as messages."""
    case = Case(seed * 7919 + sorted(KINDS).index(kind))
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    case.save(model, KINDS[kind](case))
    errors = []
    variants = [["--opt=0"], [f"--target={arguments.target}"], ["--target=x86-64-v3"]]
    if x86.can_emulate():
        variants.append(["--target=sapphirerapids"])
    for flags in variants:
        title = f"{kind} seed {seed} {' '.join(flags)}{' dynamic' if case.dynamic else ''}: {case.text}"
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            if x86.can_emulate():
                x86.accept(out)
            for threads in (1, 3):
                with nnopt.Session(out, threads) as session:
                    got = session.run(None, case.feeds)[0]
                if got.shape != case.want.shape or got.dtype != case.want.dtype or (got != case.want).any():
                    wrong = np.argwhere(got != case.want) if got.shape == case.want.shape else got.shape
                    errors.append(f"{title}: {threads} threads: {len(wrong)} of {case.want.size} differ, first at {wrong[:1]}")
                    break
        except RuntimeError as e:
            errors.append(f"{title}: {e}")
    return errors


if __name__ == "__main__":
    x86.preload()
    sys.exit(seeds.main(__doc__, KINDS, 12, run, target_argument))
