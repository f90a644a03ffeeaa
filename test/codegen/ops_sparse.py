"""Contractions that skip zero weights, against float64 results of numpy.

    ops_sparse.py [--seed=N] [--count=N] [--only=KIND] [--target=CPU]

Every case is a small ONNX model whose constant weights have zeros: a random share of them, blocks of out channels, whole
columns, whole rows, none or all. It is compiled with --sparse=on, which skips zeros also where that does not pay, and must have a kernel that does so.
Rows of infinite and NaN elements must give what the dense product gives. The largest error relative to the result's
scale may be 1e-5; integers must be equal. Exit code 1 if any case fails.
"""
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"),
                os.path.dirname(os.path.abspath(__file__))]
import nnopt  # noqa: E402
import ops_contraction  # noqa: E402
import seeds  # noqa: E402
from ops_contraction import conv_numpy, wide  # noqa: E402


class Case(ops_contraction.Case):
    def zeros(self, w, columns):
        """`w` with zeros; axis `columns` is that of the out channels."""
        share, blocks = self.rng.choice([0, 0.3, 0.7, 0.9, 0.97, 1]), self.rng.random() < 0.5
        mask = self.data.random(w.shape) < share
        if blocks:  # as vectors of out channels hold them
            size = [1] * w.ndim
            size[columns], size[1 - columns] = self.rng.choice([8, 16]), 1 if w.dtype == np.float32 else 4
            mask = self.data.random([-(-d // s) for d, s in zip(w.shape, size)]) < share
            for axis, s in enumerate(size):
                mask = mask.repeat(s, axis)
            mask = mask[tuple(slice(d) for d in w.shape)]
        w = np.where(mask, 0, w).astype(w.dtype)
        self.text += f" {share} zeros{' in blocks' if blocks else ''}"
        for axis in range(w.ndim):
            if self.rng.random() < 0.2:
                which = self.data.random(w.shape[axis]) < 0.5
                w[(slice(None),) * axis + (which,)] = 0
        if w.dtype == np.float32 and self.rng.random() < 0.2:
            w = np.where(w == 0, np.float32(-0.0), w)
        return w

    def weights(self, name, shape, columns, low=None):
        w = self.array(shape) if low is None else self.data.integers(low, low + 256, shape).astype(np.int8 if low else np.uint8)
        if low == 0:  # of unsigned bytes zero is 128
            w = (self.zeros(w.astype(np.int16) - 128, columns) + 128).astype(np.uint8)
        else:
            w = self.zeros(w, columns)
        self.constants.append(numpy_helper.from_array(w, name))
        return w

    def bad(self, name):
        """Makes some elements of an input infinite or NaN."""
        x = self.feeds[name]
        for _ in range(self.rng.choice([1, 1, 3, 20])):
            at = tuple(self.rng.randrange(d) for d in x.shape)
            x[at] = self.rng.choice([np.inf, -np.inf, np.nan])
        self.text += " not finite"


def sizes(rng):
    """(rows, out channels, in channels)"""
    return (rng.choice([1, 2, 5, 15, 16, 17, 60, 64, 128, 130, 300]), rng.choice([2, 3, 7, 16, 17, 31, 64, 100, 130]),
            rng.choice([1, 3, 8, 15, 16, 33, 64, 100, 400, 700]))


def matmul(case):
    rng = case.rng
    m, n, k = sizes(rng)
    case.text = f"{m}x{n}x{k}"
    if rng.random() < 0.5:
        transposed = rng.randrange(2)
        a = case.input("a", rng.choice([[m, k], [k]]) if not transposed else [m, k])
        b = case.weights("b", [n, k] if transposed else [k, n], 0 if transposed else 1)
        if transposed:
            c = case.constant("c", [n])
            return case.node("Gemm", ["a", "b", "c"], "y", transB=1), lambda a: wide(a) @ wide(b).T + wide(c)
        return case.node("MatMul", ["a", "b"], "y"), lambda a: np.matmul(wide(a), wide(b))
    case.input("a", [3, 2, max(1, m // 6), k])
    b = case.weights("b", [k, n], 1)
    return case.node("MatMul", ["a", "b"], "y"), lambda a: np.matmul(wide(a), wide(b))


def window(rng, rank):
    kernel = [rng.choice([1, 1, 2, 3, 3, 5]) for _ in range(rank)]
    if rng.random() < 0.6:
        kernel = [kernel[0]] * rank
    strides, dilations = [rng.choice([1, 1, 2]) for _ in range(rank)], [rng.choice([1, 1, 1, 2]) for _ in range(rank)]
    pads = [rng.choice([0, 0, k // 2, k // 2, 1]) for k in kernel * 2]
    size = [max(rng.choice([5, 7, 14, 20]), d * (k - 1) + 1) for k, d in zip(kernel, dilations)]
    return kernel, strides, dilations, pads, size


def conv(case):
    rng = case.rng
    rank = rng.choice([1, 2, 2, 2, 2, 3])
    kernel, strides, dilations, pads, size = window(rng, rank)
    if rank == 3:
        size, kernel = [min(s, 7) for s in size], [min(k, 3) for k in kernel]
    ci, co = rng.choice([1, 3, 8, 16, 30, 64, 200]), rng.choice([1, 8, 16, 24, 37, 100])
    case.input("x", [rng.choice([1, 1, 2]), ci] + size)
    case.text = f"{ci}->{co} {size} k{kernel} s{strides} d{dilations} p{pads}"
    w, bias = case.weights("w", [co, ci] + kernel, 0), case.constant("bias", [co])
    name = case.node("Conv", ["x", "w", "bias"], "y", strides=strides, pads=pads, dilations=dilations)
    return name, lambda x: conv_numpy(x, w, strides, pads, dilations, 1) + wide(bias).reshape([1, co] + [1] * rank)


def byte_input(case, name, shape):
    dtype = case.rng.choice([np.uint8, np.int8])
    info = np.iinfo(dtype)
    value, zero = case.data.integers(info.min, info.max + 1, shape).astype(dtype), case.rng.choice([0, 3, 100])
    case.inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8 if dtype == np.uint8 else TensorProto.INT8, shape))
    case.feeds[name] = value
    case.constants.append(numpy_helper.from_array(np.array(zero, dtype), "zero"))
    return zero


def byte_weights(case, shape, columns):
    low = case.rng.choice([-128, -128, 0])
    w = case.weights("w", shape, columns, low)
    zero = 128 if low == 0 else 0
    case.constants.append(numpy_helper.from_array(np.array(zero, w.dtype), "w_zero"))
    return wide(w) - zero


def matmul_bytes(case):
    m, n, k = sizes(case.rng)
    k = (k + 3) // 4 * 4
    case.text = f"{m}x{n}x{k}"
    zero = byte_input(case, "a", [2, m, k])
    w = byte_weights(case, [k, n], 1)
    return case.node("MatMulInteger", ["a", "w", "zero", "w_zero"], "y"), lambda a: (wide(a) - zero) @ w


def conv_bytes(case):
    rng = case.rng
    kernel, strides, dilations, pads, size = window(rng, 2)
    ci, co = rng.choice([4, 8, 32, 64]), rng.choice([4, 16, 24, 37])
    zero = byte_input(case, "x", [1, ci] + size)
    case.text = f"{ci}->{co} {size} k{kernel} s{strides} d{dilations} p{pads} zero {zero}"
    w = byte_weights(case, [co, ci] + kernel, 0)
    name = case.node("ConvInteger", ["x", "w", "zero", "w_zero"], "y", strides=strides, pads=pads, dilations=dilations)
    return name, lambda x: conv_numpy(wide(x) - zero, w, strides, pads, dilations, 1)


KINDS = {"matmul": matmul, "conv": conv, "matmul_bytes": matmul_bytes, "conv_bytes": conv_bytes}


def same(got, want, limit):
    """Whether finite elements differ by at most `limit` of their scale, and the others not at all."""
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite].astype(got.dtype), equal_nan=got.dtype.kind == "f"):
        return "elements that are not finite differ"
    scale = np.abs(want[finite]).max(initial=1e-30)
    error = np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0) / scale
    return f"error {error:.2e}" if not error <= limit else None


def run(seed, kind, folder, arguments):
    rng = random.Random(seed * 7919 + len(kind))
    case = Case(rng, np.float32)
    integers = kind.endswith("bytes")
    name, product = KINDS[kind](case)
    source = next(iter(case.feeds))
    with np.errstate(invalid="ignore"):
        finite = not integers and rng.random() < 0.7
        if not integers and not finite:
            case.bad(source)
        want = product(case.feeds[source])
        if finite and rng.random() < 0.6:
            name, want = case.epilogue(name, want)
    if integers:
        case.constants = [c for c in case.constants]
        result = helper.make_tensor_value_info(name, TensorProto.INT32, [None] * want.ndim)
        graph = helper.make_graph(case.nodes, "g", case.inputs, [result], case.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), os.path.join(folder, "model.onnx"))
    else:
        case.save(os.path.join(folder, "model.onnx"), name, want)
    out, target = os.path.join(folder, "model.so"), arguments.target
    if target == "native" and rng.random() < 0.3:
        target = "x86-64-v3"
    errors = []
    title = f"{kind} seed {seed} {target}{' dynamic' if case.dynamic else ''}: {case.text}"
    try:
        nnopt.compile(os.path.join(folder, "model.onnx"), out, ["--quiet", "--sparse=on", f"--target={target}"])
        with open(out, "rb") as f:
            if b"_sparse" not in f.read():
                errors.append(f"{title}: no kernel skips zeros")
        for threads in (1, 2):
            with nnopt.Session(out, threads) as session:
                got = session.run(None, case.feeds)[0]
            if message := same(got, want, 0 if integers else 1e-5):
                errors.append(f"{title}: {threads} threads: {message}")
                break
    except RuntimeError as e:
        errors.append(f"{title}: {e}")
    return errors


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 12, run, ops_contraction.target_argument))
