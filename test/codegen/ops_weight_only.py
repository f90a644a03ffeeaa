#!/usr/bin/env python3
"""Matrix products and lookups whose weights are stored in fewer bits, against float64 results of the weights that they
stand for.

    ops_weight_only.py [--seed=N] [--count=N] [--only=KIND] [--target=CPU]

Every case is a small ONNX model of a random shape: DequantizeLinear of constant 2-, 4- and 8-bit integers of either
signedness, with scales and zero points for the whole tensor, for columns or for blocks of the depth (`quantized`), Cast
of constant 16-bit floats (`halves`), MatMulNBits (`nbits`), depths that are done in parts (`deep`), rows of such a table
(`lookup`, some of GatherBlockQuantized), and rows of bytes that have a scale each (`bytes`; with scales that are powers of
two the result must be exact). It is compiled at --opt=0, by default, by default for x86-64-v3 and for baseline x86-64, and
run with 1 and 3 threads. The largest error relative to the result's scale may be 1e-5, and by default the artifact must hold the weights in their own width.
Ends with `N passed, N failed`; exit code 1 if any case fails.
"""
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ops_contraction import Case, nnopt, seeds, target_argument, wide  # noqa: E402

INTEGERS = {"int8": (TensorProto.INT8, -128, 127), "uint8": (TensorProto.UINT8, 0, 255), "int4": (TensorProto.INT4, -8, 7),
            "uint4": (TensorProto.UINT4, 0, 15), "int2": (TensorProto.INT2, -2, 1), "uint2": (TensorProto.UINT2, 0, 3)}


def integer_constant(case, name, values, kind):
    """An initializer; 4- and 2-bit elements are packed from the low bits on."""
    data_type, low, high = INTEGERS[kind]
    bits = (high - low).bit_length()
    flat = values.astype(np.int64).ravel() & ((1 << bits) - 1)
    if bits < 8:
        per = 8 // bits
        flat = np.pad(flat, (0, -len(flat) % per)).reshape(-1, per)
        flat = (flat << (bits * np.arange(per))).sum(1)
    case.constants.append(helper.make_tensor(name, data_type, values.shape, flat.astype(np.uint8).tobytes(), raw=True))


def activations(case, depth, rows=None):
    """An input [..., depth] of some rows."""
    rows = rows or case.rng.choice([1, 1, 2, 3, 4, 7, 8, 13, 17, 40, 100])
    shape = case.rng.choice([[rows, depth], [rows, depth], [2, rows, depth]])
    x = case.input("x", shape, fixed=True)
    if case.dynamic:
        for d in range(len(shape) - 1):
            case.inputs[0].type.tensor_type.shape.dim[d].dim_param = f"d{d}"
    return x


def product(case, x, transposed, weights, name):
    """The node, with or without a bias; the weights are [depth, columns], stored as `name`."""
    want = wide(x) @ weights
    rng = case.rng
    if transposed and x.ndim == 2 and rng.random() < 0.5:
        inputs = ["x", name]
        if rng.random() < 0.6:
            inputs.append("bias")
            want = want + wide(case.constant("bias", [weights.shape[1]]))
        return case.node("Gemm", inputs, "y", transB=1), want
    if transposed:
        name = case.node("Transpose", [name], "wt", perm=[1, 0])
    case.node("MatMul", ["x", name], "p")
    if rng.random() < 0.5:
        return "p", want
    return case.node("Add", ["p", "bias"], "y"), want + wide(case.constant("bias", [weights.shape[1]]))


def scales(case, shape):
    if case.exact:
        return np.exp2(case.data.integers(-6, -3, shape)).astype(np.float32)
    return case.data.uniform(0.01, 0.1, shape).astype(np.float32)


def integer_weights(case, depth, columns, transposed):
    """Adds DequantizeLinear of a matrix [depth, columns], `w`; returns what it is."""
    rng = case.rng
    kind = rng.choice(["int8", "uint8", "int4", "int4", "uint4", "uint4", "int2", "uint2"])
    _, low, high = INTEGERS[kind]
    blocks = [b for b in (8, 16, 24, 32, 64) if depth % b == 0 and depth > b]
    style = rng.choice(["tensor", "column", "block", "block"]) if blocks else rng.choice(["tensor", "column"])
    block = rng.choice(blocks) if style == "block" else depth
    groups = depth // block
    q = case.data.integers(low, high + 1, (depth, columns))
    shape = {"tensor": [], "column": [columns], "block": [groups, columns]}[style]
    scale = scales(case, shape)
    zero = case.data.integers(low, high + 1, shape) if rng.random() < 0.6 else None
    along = lambda p: np.repeat(p, block, axis=0) if style == "block" else p
    weights = (q - (along(zero) if zero is not None else 0)) * along(scale).astype(np.float64)
    turn = lambda v: v.T.copy() if transposed and v is not None and v.ndim == 2 else v
    integer_constant(case, "q", turn(q), kind)
    case.constants.append(numpy_helper.from_array(turn(scale), "scale"))
    inputs, attributes = ["q", "scale"], {}
    if zero is not None:
        integer_constant(case, "zero", turn(zero), kind)
        inputs.append("zero")
    if style == "column":
        attributes["axis"] = 0 if transposed else 1
    elif style == "block":
        attributes.update(axis=1 if transposed else 0, block_size=block)
    case.node("DequantizeLinear", inputs, "w", **attributes)
    case.text = f"{q.shape} {kind} {style} {block} zero={zero is not None} transposed={transposed}"
    case.bits, case.groups, case.depth = 8 if high - low > 15 else 4, groups, depth
    # All weights of one sign give results of one sign, of which some epilogues leave nothing to compare with.
    case.ends = zero is None and low == 0
    return weights


def half_weights(case, depth, columns, transposed):
    """The same of Cast."""
    rng = case.rng
    values = case.data.standard_normal((depth, columns)).astype(np.float32)
    if rng.random() < 0.5:
        values = values.astype(np.float16)
        case.constants.append(numpy_helper.from_array(values.T.copy() if transposed else values, "h"))
    else:
        bits = values.view(np.uint32) >> 16
        values = (bits << 16).view(np.float32)
        stored = (bits.T if transposed else bits).astype(np.uint16)
        case.constants.append(helper.make_tensor("h", TensorProto.BFLOAT16, stored.shape, stored.tobytes(), raw=True))
    case.node("Cast", ["h"], "w", to=TensorProto.FLOAT)
    case.text = f"{values.shape} {values.dtype} transposed={transposed}"
    case.bits, case.groups, case.depth = 16, 0, depth
    return wide(values)


def quantized(case, weights_of=integer_weights, depth=None, columns=None, rows=None):
    depth = depth or case.rng.choice([1, 3, 8, 17, 32, 64, 96, 100, 130, 256])
    columns = columns or case.rng.choice([2, 3, 8, 15, 16, 33, 64, 100, 130])
    transposed = case.rng.random() < 0.5
    weights = weights_of(case, depth, columns, transposed)
    x = activations(case, depth, rows)
    case.text = f"{x.shape} x {case.text}"
    return product(case, x, transposed, weights, "w")


def halves(case, **size):
    return quantized(case, half_weights, **size)


def byte_rows(case):
    rng = case.rng
    case.exact = rng.random() < 0.5
    depth, columns = rng.choice([1, 3, 8, 17, 32, 64, 96, 100, 130, 256, 520]), rng.choice([2, 3, 15, 16, 33, 64, 100, 130])
    transposed = rng.random() < 0.5
    weights = integer_weights(case, depth, columns, transposed)
    rows = rng.choice([1, 1, 2, 3, 4, 7, 8, 13, 17, 40, 100])
    shape = rng.choice([[rows, depth], [2, rows, depth]])
    x, scale = case.data.integers(-128, 128, shape).astype(np.int8), scales(case, shape[:-1] + [1])
    for name, value, kind in (("x", x, TensorProto.INT8), ("xs", scale, TensorProto.FLOAT)):
        dims = [f"d{i}" if case.dynamic else d for i, d in enumerate(shape[:-1])] + [value.shape[-1]]
        case.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        case.feeds[name] = value
    case.node("DequantizeLinear", ["x", "xs"], "rows", axis=len(shape) - 1, block_size=depth)
    case.text = f"{x.shape} bytes x {case.text}{' exact' if case.exact else ''}"
    if transposed:
        case.node("Transpose", ["w"], "wt", perm=[1, 0])
    want = (x * scale.astype(np.float64)) @ weights
    if case.exact or rng.random() < 0.5:
        return case.node("MatMul", ["rows", "wt" if transposed else "w"], "y"), want
    case.node("MatMul", ["rows", "wt" if transposed else "w"], "p")
    return case.node("Add", ["p", "bias"], "y"), want + wide(case.constant("bias", [columns]))


def block_table(case, depth, rows):
    """The initializers of GatherBlockQuantized, bytes of two 4-bit integers in blocks of 16; returns the table."""
    q = case.data.integers(0, 16, (rows, depth))
    scale = scales(case, (rows, depth // 16))
    case.constants += [numpy_helper.from_array((q[:, ::2] | q[:, 1::2] << 4).astype(np.uint8), "q"),
                       numpy_helper.from_array(scale, "scale")]
    case.bits, case.groups, case.depth = 4, depth // 16, depth
    case.text = f"GatherBlockQuantized {q.shape}"
    return (q - 8) * np.repeat(scale, 16, axis=1).astype(np.float64)


def lookup(case):
    rng = case.rng
    depth, rows = rng.choice([1, 3, 4, 8, 17, 24, 32, 64, 96, 100, 130, 256]), rng.choice([2, 3, 17, 100, 1000])
    blocks = depth % 16 == 0 and rng.random() < 0.4
    if blocks:
        weights = block_table(case, depth, rows)
    else:
        weights = rng.choice([integer_weights, integer_weights, half_weights])(case, depth, rows, transposed=True).T
    indices = case.data.integers(-rows, rows, rng.choice([[], [1], [7], [2, 40]])).astype(rng.choice([np.int32, np.int64]))
    case.inputs.append(helper.make_tensor_value_info("ids", helper.np_dtype_to_tensor_dtype(indices.dtype),
                                                     [f"d{i}" for i in range(indices.ndim)] if case.dynamic else indices.shape))
    case.feeds["ids"] = indices
    case.text = f"{indices.shape} {indices.dtype} of {case.text}"
    # Rows are whole words, but for an odd number of elements; each group has a scale and perhaps a zero point.
    case.most = rows * (depth * (case.bits if depth % 2 == 0 else max(case.bits, 8)) / 8 + 5 * case.groups) + 4096
    if blocks:
        case.node("GatherBlockQuantized", ["q", "ids", "scale"], "y", domain="com.microsoft", bits=4, block_size=16)
        return "y", weights[indices]
    return case.node("Gather", ["w", "ids"], "y", axis=0), weights[indices]


def nbits(case):
    rng = case.rng
    depth, columns = rng.choice([7, 16, 32, 100, 128, 130]), rng.choice([2, 3, 16, 33, 64, 100])
    bits, block = rng.choice([2, 4, 4, 4, 8]), rng.choice([16, 32, 64])
    groups = -(-depth // block)
    q = case.data.integers(0, 1 << bits, (columns, groups * block))
    scale = case.data.uniform(0.01, 0.1, (columns, groups)).astype(np.float32)
    zero = np.full((columns, groups), 1 << (bits - 1))
    inputs = ["x", "q", "scale"]
    pack = lambda v: (v.reshape(len(v), -1, 8 // bits) << (bits * np.arange(8 // bits))).sum(-1).astype(np.uint8)
    if rng.random() < 0.5:
        zero = case.data.integers(0, 1 << bits, (columns, groups))
        padded = np.pad(zero, [(0, 0), (0, -groups % (8 // bits))])
        case.constants.append(numpy_helper.from_array(pack(padded).ravel(), "zero"))
        inputs.append("zero")
    case.constants.append(numpy_helper.from_array(pack(q).reshape(columns, groups, -1), "q"))
    case.constants.append(numpy_helper.from_array(scale.ravel(), "scale"))
    x = activations(case, depth)
    weights = (q - np.repeat(zero, block, axis=1)) * np.repeat(scale, block, axis=1).astype(np.float64)
    case.text = f"{x.shape} x {depth}x{columns} {bits} bits block {block} {inputs[3:]}"
    case.bits, case.groups, case.depth = max(bits, 4), groups, depth
    case.nodes.append(helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft", K=depth, N=columns, bits=bits,
                                       block_size=block))
    return "y", wide(x) @ weights[:, :depth].T


def deep(case):
    """Depths that are done in parts where there are many rows."""
    size = dict(depth=case.rng.choice([2048, 2080, 3072, 4100]), columns=case.rng.choice([33, 64, 100]),
                rows=case.rng.choice([1, 5, 130, 300]))
    return (halves if case.rng.random() < 0.3 else quantized)(case, **size)


KINDS = {"quantized": quantized, "halves": halves, "nbits": nbits, "deep": deep, "lookup": lookup, "bytes": byte_rows}


def run(seed, kind, folder, arguments):
    """What is wrong with one case, as messages."""
    case = Case(random.Random(seed * 7919 + sorted(KINDS).index(kind)), np.float32)
    case.most, case.exact = None, False
    name, want = KINDS[kind](case)
    if case.rng.random() < 0.4 and not case.exact and not getattr(case, "ends", False):
        name, want = case.epilogue(name, want)
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    case.want = want.astype(np.float32)
    graph = helper.make_graph(case.nodes, "g", case.inputs, [helper.make_tensor_value_info(name, 1, [None] * want.ndim)],
                              case.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25), helper.make_opsetid("com.microsoft", 1)],
                                ir_version=12), model)
    # Panels are whole vectors, and 4-bit weights words of eight; each group has a scale and perhaps a zero point. A bias,
    # and what else an epilogue reads, is small.
    most = case.most or -(-want.shape[-1] // 16) * 16 * (-(-case.depth // 8) * case.bits + 5 * case.groups + 4) + 4096
    errors = []
    for flags in (["--opt=0"], [f"--target={arguments.target}"], ["--target=x86-64-v3"], ["--target=x86-64"]):
        title = f"{kind} seed {seed} {' '.join(flags)}{' dynamic' if case.dynamic else ''}: {case.text}"
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            for threads in (1, 3):
                with nnopt.Session(out, threads) as session:
                    got = session.run(None, case.feeds)[0]
                    weights = session.memory().weights
                error = nnopt.difference(got, case.want)
                if not error <= (0 if case.exact and flags != ["--opt=0"] else 1e-5):
                    errors.append(f"{title}: {threads} threads: error {error:.2e}")
                    break
            halves_stay = case.bits < 16 or flags != ["--target=x86-64"]  # which widens f16 for the lack of an instruction
            if flags != ["--opt=0"] and halves_stay and weights > most:
                errors.append(f"{title}: {weights} bytes of weights, expected at most {most:.0f}")
        except RuntimeError as e:
            errors.append(f"{title}: {e}")
    return errors


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 12, run, target_argument))
