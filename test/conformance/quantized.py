#!/usr/bin/env python3
"""Random cases of quantized operators, narrow element types and the operators of com.microsoft, against onnxruntime;
where it has no CPU kernel, against numpy.

    quantized.py [--only=QLinearConv,Attention] [--cases=N]

As irregular.py; of the four ways to compile a model each case takes two.
Ends with `N passed, N failed`.
"""
import itertools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from onnx import TensorProto, helper

import irregular
from irregular import Case, drop_none

F32 = np.float32
WAYS = [((False, 2), (True, 0)), ((True, 2), (False, 0))]
BYTES = [np.uint8, np.int8]


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, drop_none(inputs), outputs, op + "_0", domain=domain, **attributes)


def contrib(op, inputs, outputs, **attributes):
    return node(op, inputs, outputs, "com.microsoft", **attributes)


def case(name, i, nodes, values, outputs=("y",), constants=(), free=None, **options):
    """`values` by name; those in `constants` become initializers. Where `free` is given, only its axes (by name of the
    input) get symbols: rules need the sizes that weights fix, which are operands here."""
    if free is not None:
        options["static"] = {(k, a) for k, v in values.items() for a in range(v.ndim) if a not in free.get(k, ())}
    return Case(f"{name}_{i}", nodes, {k: v for k, v in values.items() if k not in constants}, list(outputs),
                {k: v for k, v in values.items() if k in constants}, modes=WAYS[i % 2], **options)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(F32)


def integers(rng, kind, shape, low=None, high=None):
    info = np.iinfo(kind)
    return rng.integers(info.min if low is None else low, (info.max if high is None else high) + 1, shape).astype(kind)


def scale(rng, *shape):
    return rng.uniform(0.01, 0.1, shape).astype(F32)


# --------------------------------------------------------------------- quantize and dequantize
def quantize_linear(rng, count):
    """QuantizeLinear and what DequantizeLinear makes of it."""
    kinds = [TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT4,
             TensorProto.INT4, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2]
    for i in range(4 * count):
        kind = kinds[i % len(kinds)]
        float8 = kind in (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2)
        bits = {TensorProto.UINT16: 16, TensorProto.INT16: 16, TensorProto.UINT4: 4, TensorProto.INT4: 4}.get(kind, 8)
        shape = [int(rng.integers(1, 5)), int(rng.choice([4, 8])), int(rng.integers(1, 7))]
        form = ["tensor", "axis", "blocked"][i // 2 % 3] if not float8 else "tensor"
        sizes = {"tensor": [], "axis": [shape[1]], "blocked": [shape[0], shape[1] // 4, shape[2]]}[form]
        attributes = {"tensor": {}, "axis": {"axis": 1}, "blocked": {"axis": 1, "block_size": 4}}[form]
        x = normal(rng, *shape) * F32(2.0 ** (bits - 2) * 0.05)
        values = {"x": x, "s": scale(rng, *sizes)}
        # The zero point as a cast of small integers: data types that numpy lacks.
        signed = kind in (TensorProto.INT8, TensorProto.INT16, TensorProto.INT4)
        zero = np.zeros(sizes, np.int32) if float8 else rng.integers(-2 if signed else 0, 4, sizes).astype(np.int32)
        zero = helper.make_tensor("z", kind, sizes, np.ravel(zero).tolist())
        nodes = [helper.make_node("Constant", [], ["z"], value=zero),
                 node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
                 node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes)]
        yield case("QuantizeLinear", i, nodes, values, opset=21)


def dequantize_linear(rng, count):
    for i in range(count):
        kind = [np.uint8, np.int8, np.int32, np.int16, np.uint16][i % 5]
        shape = [3, int(rng.integers(1, 5)), 4]
        sizes = [shape[1]] if i % 2 else []
        values = {"x": integers(rng, kind, shape), "s": scale(rng, *sizes)}
        if kind != np.int32:
            values["z"] = integers(rng, kind, sizes)
        yield case("DequantizeLinear", i, node("DequantizeLinear", ["x", "s", "z" if "z" in values else None], ["y"], axis=1),
                   values, opset=21)
        values = {"x": normal(rng, *shape), "s": scale(rng)}
        kind = BYTES[i % 2]
        values["z"] = integers(rng, kind, [])
        nodes = [contrib("QuantizeLinear", ["x", "s", "z"], ["q"]), contrib("DequantizeLinear", ["q", "s", "z"], ["y"])]
        yield case("ContribQuantizeLinear", i, nodes, values, outputs=("q", "y"))
        x = normal(rng, *shape) if i % 3 else np.zeros(shape, F32)
        yield case("DynamicQuantizeLinear", i, node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"]), {"x": x},
                   outputs=("y", "s", "z"))


def narrow_movement(rng, count):
    """Elements of 2 and 4 bits and narrow floats through operators that only move them."""
    kinds = [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2, TensorProto.FLOAT4E2M1,
             TensorProto.FLOAT8E4M3FN]
    for i in range(2 * count):
        kind = kinds[i % len(kinds)]
        low, high = {TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15), TensorProto.INT2: (-2, 1)}.get(kind, (0, 3))
        rows, columns = int(rng.integers(1, 6)), int(rng.integers(1, 40))
        x = rng.integers(low, high + 1, (rows, columns)).astype(F32)
        weight = rng.integers(low, high + 1, (rows, 3)).astype(F32)
        constant = helper.make_tensor("w", kind, weight.shape, np.ravel(weight).tolist())
        index = rng.integers(0, columns + 3, 7)
        nodes = [helper.make_node("Cast", ["x"], ["n"], to=kind), helper.make_node("Constant", [], ["w"], value=constant),
                 helper.make_node("Concat", ["w", "n"], ["c"], axis=1), helper.make_node("Transpose", ["c"], ["t"]),
                 helper.make_node("Gather", ["t", "i"], ["g"]), helper.make_node("Reshape", ["g", "shape"], ["r"]),
                 helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT)]
        expected = [np.concatenate([weight, x], axis=1).T[index].reshape(-1)]
        yield case("Narrow", i, nodes, {"x": x, "i": index, "shape": np.array([-1])}, constants=("shape",), opset=25,
                   expected=expected)


# --------------------------------------------------------------------- integer contractions
# onnxruntime saturates sums of two products of a u8 and an i8 at 16 bits where the CPU lacks VNNI and there is one column:
# what depends on these is computed here.
def product_of_bytes(a, az, b, bz):
    return (a.astype(np.int64) - np.int64(az)) @ (b.astype(np.int64) - np.int64(bz))


def quantized_dynamically(x):
    """DynamicQuantizeLinear: bytes, scale, zero point."""
    low, high = min(x.min(), F32(0)), max(x.max(), F32(0))
    scale = (high - low) / F32(255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.clip(np.rint(x / scale) + zero, 0, 255), scale, zero


def integer_products(rng, count):
    for i in range(count):
        a_kind, b_kind = BYTES[i % 2], BYTES[i // 2 % 2]
        m, k, n = (int(rng.choice([1, 3, 8, 17])) for _ in range(3))
        batch = [2] if i % 3 == 2 else []
        values = {"a": integers(rng, a_kind, batch + [m, k]), "b": integers(rng, b_kind, [k, n])}
        names = ["a", "b", None, None]
        if i % 2:
            values["az"], names[2] = integers(rng, a_kind, []), "az"
        if i % 3:
            values["bz"], names[3] = integers(rng, b_kind, [n] if i % 4 == 1 else []), "bz"
        yield case("MatMulInteger", i, node("MatMulInteger", names, ["y"]), values)

        values = {"a": integers(rng, a_kind, batch + [m, k]), "as": scale(rng), "az": integers(rng, a_kind, []),
                  "b": integers(rng, b_kind, [k, n]), "bs": scale(rng, *([n] if i % 2 else [])),
                  "bz": integers(rng, b_kind, [], -3, 3) if b_kind == np.int8 else integers(rng, b_kind, [], 125, 131),
                  "ys": np.array(k / 20 + 0.3, F32), "yz": integers(rng, a_kind, [])}
        if a_kind == np.int8 and b_kind == np.uint8:
            continue  # onnxruntime has no kernel
        product = product_of_bytes(values["a"], values["az"], values["b"], values["bz"])
        rounded = np.rint(product * (values["as"] * values["bs"] / values["ys"])) + values["yz"]
        limits = np.iinfo(a_kind)
        yield case("QLinearMatMul", i, node("QLinearMatMul", list(values), ["y"]), values, opset=21,
                   expected=[np.clip(rounded, limits.min, limits.max).astype(a_kind)])

        if b_kind == np.int8:
            values = {"a": normal(rng, *batch, m, k), "b": values["b"], "bs": values["bs"], "bz": values["bz"],
                      "bias": normal(rng, n)}
            a, a_scale, zero = quantized_dynamically(values["a"])
            product = product_of_bytes(a, zero, values["b"], values["bz"]) * (a_scale * values["bs"]) + values["bias"]
            yield case("DynamicQuantizeMatMul", i, contrib("DynamicQuantizeMatMul", list(values), ["y"]), values,
                       expected=[product.astype(F32)])
        values = {"a": integers(rng, a_kind, batch + [m, k]), "b": integers(rng, b_kind, [k, n]), "as": scale(rng),
                  "bs": scale(rng, *([n] if i % 2 else [])), "az": integers(rng, a_kind, []),
                  "bz": integers(rng, b_kind, []), "bias": normal(rng, n)}
        yield case("MatMulIntegerToFloat", i, contrib("MatMulIntegerToFloat", list(values), ["y"]), values)
        transpose = i % 2
        values = {"a": integers(rng, a_kind, [m, k]), "as": scale(rng), "az": integers(rng, a_kind, []),
                  "b": integers(rng, b_kind, [n, k] if transpose else [k, n]), "bs": scale(rng),
                  "bz": integers(rng, b_kind, []), "c": integers(rng, np.int32, [n], -999, 999),
                  "ys": np.array(k / 4 + 0.3, F32), "yz": integers(rng, a_kind, [])}
        yield case("QGemm", i, contrib("QGemm", list(values), ["y"], transB=transpose), values)


def integer_convolutions(rng, count):
    for i in range(count):
        group = [1, 1, 2][i % 3]
        channels, out = group * int(rng.integers(1, 4)), group * int(rng.integers(1, 4))
        w_kind = BYTES[i % 2]
        x = integers(rng, np.uint8, [int(rng.integers(1, 3)), channels, int(rng.integers(4, 9)), int(rng.integers(4, 9))])
        w = integers(rng, w_kind, [out, channels // group, 3, int(rng.integers(1, 4))])
        attributes = {"group": group, "strides": [1 + i % 2, 1], "pads": [int(p) for p in rng.integers(0, 2, 4)],
                      "dilations": [1, 1 + i // 2 % 2]}
        values = {"x": x, "w": w, "xz": integers(rng, np.uint8, [])}
        yield case("ConvInteger", i, node("ConvInteger", ["x", "w", "xz"], ["y"], **attributes), values, constants=("w",))
        per_channel = i % 2 and w_kind == np.int8
        values = {"x": x, "xs": scale(rng), "xz": values["xz"], "w": w, "ws": scale(rng, *([out] if per_channel else [])),
                  "wz": np.zeros([out] if per_channel else [], w_kind) if w_kind == np.int8 else integers(rng, w_kind, []),
                  "ys": np.array(2.3, F32), "yz": integers(rng, np.uint8, [])}
        names = list(values)
        if i % 3:
            values["bias"] = integers(rng, np.int32, [out], -999, 999)
            names.append("bias")
        yield case("QLinearConv", i, node("QLinearConv", names, ["y"], **attributes), values,
                   constants=("w", "ws", "wz", "bias"))


# --------------------------------------------------------------------- com.microsoft: quantized
def quantized_elementwise(rng, count):
    for i in range(count):
        kind = BYTES[i % 2]
        shape = [int(rng.integers(1, 4)), int(rng.choice([1, 5, 40])), int(rng.integers(1, 9))]
        one = lambda: integers(rng, kind, [])
        # Scales that are powers of two make sums and products exact, so that ties are ties everywhere; an even zero
        # point, so that they go the same way before (onnxruntime, here) and after (QuantizeLinear) it is added.
        values = {"a": integers(rng, kind, shape), "as": np.array(0.25, F32), "az": one(),
                  "b": integers(rng, kind, shape[1:] if i % 3 else shape), "bs": np.array(0.125, F32), "bz": one(),
                  "cs": np.array(0.5, F32), "cz": np.array(2 * rng.integers(0, 50), kind)}
        yield case("QLinearAdd", i, contrib("QLinearAdd", list(values), ["y"]), values)
        yield case("QLinearMul", i, contrib("QLinearMul", list(values), ["y"]), {**values, "cs": np.array(32, F32)})
        x = {"x": values["a"], "xs": scale(rng), "xz": values["az"]}
        y = {"ys": scale(rng), "yz": values["cz"]}
        yield case("QLinearLeakyRelu", i, contrib("QLinearLeakyRelu", [*x, *y], ["y"], alpha=0.3), {**x, **y},
                   constants=("xs", "xz", "ys", "yz"))
        y["ys"] = np.array(1 / 256, F32)
        yield case("QLinearSigmoid", i, contrib("QLinearSigmoid", [*x, *y], ["y"]), {**x, **y},
                   constants=("xs", "xz", "ys", "yz"))
        parts = {"ys": scale(rng), "yz": one()}
        for j in range(1 + i % 3):
            parts |= {f"x{j}": integers(rng, kind, [2, j + 1, 3]), f"s{j}": scale(rng), f"z{j}": one()}
        fixed = [k for k in parts if k[0] != "x"]
        yield case("QLinearConcat", i, contrib("QLinearConcat", list(parts), ["y"], axis=1), parts, constants=fixed)
        values = {"c": rng.integers(0, 2, shape).astype(bool), "a": values["a"], "as": scale(rng), "az": one(),
                  "b": integers(rng, kind, shape), "bs": scale(rng), "bz": one(), "ys": scale(rng), "yz": one()}
        fixed = [k for k in values if len(k) == 2]
        yield case("QLinearWhere", i, contrib("QLinearWhere", list(values), ["y"]), values, constants=fixed)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def quantized_softmax(rng, count):
    """onnxruntime takes it from a table with another rounding."""
    for i in range(count):
        kind = BYTES[i % 2]
        info = np.iinfo(kind)
        x = integers(rng, kind, [3, int(rng.integers(2, 6)), 5])
        zero = int(info.min)
        xs, ys = scale(rng), np.array(1 / 256, F32)
        real = (x.astype(np.float64) - 3) * xs
        probabilities = softmax(real.reshape(3, -1)).reshape(x.shape) if i % 3 == 0 else softmax(real, 1 if i % 3 == 1 else 2)
        expected = np.clip(np.rint(probabilities / ys) + zero, info.min, info.max).astype(kind)
        values = {"x": x, "xs": xs, "xz": np.array(3, kind), "ys": ys, "yz": np.array(zero, kind)}
        axis, opset = [(1, 12), (1, 13), (-1, 13)][i % 3]
        yield case("QLinearSoftmax", i, contrib("QLinearSoftmax", list(values), ["y"], axis=axis, opset=opset), values,
                   expected=[expected])


def quantized_pooling(rng, count):
    for i in range(count):
        kind, last = BYTES[i % 2], i // 2 % 2
        shape = [int(rng.integers(1, 3)), int(rng.integers(1, 5)), int(rng.integers(4, 9)), int(rng.integers(4, 9))]
        if last:
            shape = [shape[0], *shape[2:], shape[1]]
        values = {"x": integers(rng, kind, shape), "xs": np.array(0.25, F32), "xz": integers(rng, kind, []),
                  # Ties are exact, with an even zero point as above, or (0.2973) there is none.
                  "ys": np.array(0.125 if i % 3 else 0.2973, F32), "yz": np.array(2 * rng.integers(0, 50), kind)}
        yield case("QLinearGlobalAveragePool", i,
                   contrib("QLinearGlobalAveragePool", list(values), ["y"], channels_last=last), values)
        attributes = {"kernel_shape": [2, 4], "strides": [1 + i % 2, 2], "pads": [0, 1, 1, 0], "count_include_pad": i % 2}
        yield case("QLinearAveragePool", i, contrib("QLinearAveragePool", list(values), ["y"], channels_last=last, **attributes),
                   values)
        x = integers(rng, kind, [2, 5, 6, 3])
        yield case("NhwcMaxPool", i, contrib("NhwcMaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1 + i % 2],
                                            pads=[1, 0, 0, 1]), {"x": x})


def matmul_n_bits(rng, count):
    for i in range(2 * count):
        bits = [4, 8, 2][i % 3]
        n, block = int(rng.integers(1, 9)), int(rng.choice([16, 32]))
        k = block * int(rng.integers(1, 4)) - (block // 2 if i % 2 else 0)
        blocks = -(-k // block)
        values = {"a": normal(rng, *([2] if i % 3 == 1 else []), int(rng.integers(1, 5)), k),
                  "b": integers(rng, np.uint8, [n, blocks, block * bits // 8]), "s": scale(rng, n, blocks)}
        names = ["a", "b", "s", None, None, None]
        if i // 2 % 3 == 1:
            values["z"], names[3] = integers(rng, np.uint8, [n, -(-blocks * bits // 8)]), "z"
        if i // 2 % 3 == 2 and bits == 4:
            values["z"], names[3] = rng.uniform(0, 15, (n, blocks)).astype(F32), "z"
        if i % 4 == 3:
            values["bias"], names[5] = normal(rng, n), "bias"
        y = None
        if bits == 2:  # in numpy: onnxruntime needs shapes that its kernels for 2 bits take
            unpacked = np.stack([values["b"] >> (bits * j) & 3 for j in range(4)], axis=-1).reshape(n, blocks, block)
            zero = np.full((n, blocks), 2)
            if "z" in values:
                zero = np.stack([values["z"] >> (bits * j) & 3 for j in range(4)], axis=-1).reshape(n, -1)[:, :blocks]
            w = ((unpacked.astype(np.float64) - zero[..., None]) * values["s"][..., None]).reshape(n, -1)[:, :k]
            y = [(values["a"] @ w.T + values.get("bias", 0)).astype(F32)]
        yield case("MatMulNBits", i, contrib("MatMulNBits", names, ["y"], K=k, N=n, bits=bits, block_size=block), values,
                   constants=("b", "s", "z", "bias"), expected=y, tolerance=2e-5)


def gather_block_quantized(rng, count):
    for i in range(2 * count):
        rows, block = int(rng.integers(2, 9)), int(rng.choice([16, 32]))
        blocks = int(rng.integers(1, 4))
        indices = rng.integers(-rows, rows, [[3], [2, 4], []][i % 3]).astype([np.int64, np.int32][i % 2])
        values = {"w": integers(rng, np.uint8, [rows, blocks * block // 2]), "i": indices, "s": scale(rng, rows, blocks)}
        if i // 2 % 2:
            values["z"] = integers(rng, np.uint8, [rows, -(-blocks // 2)])
        yield case("GatherBlockQuantized", i, contrib("GatherBlockQuantized", list(values), ["y"], bits=4, block_size=block,
                                                      gather_axis=0, quantize_axis=1), values, constants=("w", "s", "z"))


# --------------------------------------------------------------------- com.microsoft: fused
def fused_products(rng, count):
    for i in range(count):
        activation = ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"][i % 6]
        parameters = {"LeakyRelu": [0.2], "Clip": [-0.5, 0.7], "HardSigmoid": [0.3, 0.4]}.get(activation)
        x, w = normal(rng, 2, 3, 6, 7), normal(rng, 4, 3, 3, 2)
        values = {"x": x, "w": w, "b": normal(rng, 4)}
        attributes = {"pads": [1, 0, 1, 1], "activation": activation}
        if parameters:
            attributes["activation_params"] = parameters
        names = ["x", "w", "b"]
        if i % 2 and activation == "Relu" or i % 4 == 2:
            values["z"] = normal(rng, 2, 4, 6, 7)
            names.append("z")
        yield case("FusedConv", i, contrib("FusedConv", names, ["y"], **attributes), values, constants=("w", "b"))
        activation = ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softplus"][i % 6]
        attributes = {"activation": activation, "alpha": 0.5, "beta": 1.5, "transA": i % 2, "transB": i // 2 % 2}
        if activation in ("LeakyRelu", "Elu"):
            attributes["activation_alpha"] = 0.3
        m, k, n = (int(rng.integers(1, 9)) for _ in range(3))
        values = {"a": normal(rng, *((k, m) if i % 2 else (m, k))), "b": normal(rng, *((n, k) if i // 2 % 2 else (k, n))),
                  "c": normal(rng, n)}
        yield case("FusedGemm", i, contrib("FusedGemm", list(values), ["y"], **attributes), values)
        trans_a, trans_b, batch_a, batch_b = (int(v) for v in rng.integers(0, 2, 4))
        matrix = lambda rows, columns, trans: [columns, rows] if trans else [rows, columns]
        stacked = lambda rows, batch: [rows[0], 2, rows[1]] if batch else [2, *rows]
        values = {"a": normal(rng, *stacked(matrix(m, k, trans_a), batch_a)),
                  "b": normal(rng, *stacked(matrix(k, n, trans_b), batch_b))}
        yield case("FusedMatMul", i, contrib("FusedMatMul", ["a", "b"], ["y"], alpha=0.7, transA=trans_a, transB=trans_b,
                                            transBatchA=batch_a, transBatchB=batch_b), values)


def erf(x):
    import math
    return np.vectorize(math.erf)(x)


def activations(rng, count):
    for i in range(count):
        x, bias = normal(rng, 2, int(rng.integers(1, 5)), 10), normal(rng, 10)
        yield case("Gelu", i, contrib("Gelu", ["x"], ["y"]), {"x": x})
        yield case("BiasGelu", i, contrib("BiasGelu", ["x", "b"], ["y"]), {"x": x, "b": bias})
        yield case("FastGelu", i, contrib("FastGelu", ["x", "b" if i % 2 else None], ["y"]), {"x": x, "b": bias} if i % 2 else {"x": x})
        yield case("QuickGelu", i, contrib("QuickGelu", ["x"], ["y"], alpha=[1.702, 1.0, 0.5][i % 3]), {"x": x})
        left, right = np.split((x + bias).astype(np.float64), 2, axis=-1)
        expected = (left * right * 0.5 * (1 + erf(right / np.sqrt(2)))).astype(F32)
        yield case("BiasSplitGelu", i, contrib("BiasSplitGelu", ["x", "b"], ["y"]), {"x": x, "b": bias}, constants=("b",),
                   expected=[expected])


# --------------------------------------------------------------------- com.microsoft: normalization
def normalization(rng, count):
    for i in range(count):
        batch, length, hidden = int(rng.integers(1, 4)), int(rng.integers(1, 6)), int(rng.choice([1, 8, 33]))
        x, vector = normal(rng, batch, length, hidden), lambda: normal(rng, hidden)
        skip = normal(rng, *[(batch, length, hidden), (1, length, hidden), (length, hidden)][i % 3])
        values = {"x": x, "skip": skip, "gamma": vector(), "beta": vector(), "bias": vector()}
        names = ["x", "skip", "gamma", "beta" if i % 2 else None, "bias" if i // 2 % 2 else None]
        values = {k: v for k, v in values.items() if k in names}
        yield case("SkipLayerNormalization", i, contrib("SkipLayerNormalization", names, ["y", "", "", "sum"], epsilon=1e-5),
                   values, outputs=("y", "sum"))
        values = {"x": x, "skip": normal(rng, batch, length, hidden), "gamma": vector(), "bias": vector()}
        names = ["x", "skip", "gamma", "bias" if i % 2 else None]
        values = {k: v for k, v in values.items() if k in names}
        yield case("SkipSimplifiedLayerNormalization", i,
                   contrib("SkipSimplifiedLayerNormalization", names, ["y", "", "", "sum"], epsilon=1e-5), values,
                   outputs=("y", "sum"))
        yield case("SimplifiedLayerNormalization", i, node("SimplifiedLayerNormalization", ["x", "s"], ["y"], axis=-1, epsilon=1e-5),
                   {"x": x, "s": vector()})
        values = {"ids": rng.integers(0, 11, (batch, length)).astype(np.int32),
                  "segments": rng.integers(0, 2, (batch, length)).astype(np.int32), "words": normal(rng, 11, hidden),
                  "places": normal(rng, 9, hidden), "kinds": normal(rng, 2, hidden), "gamma": vector(), "beta": vector(),
                  "mask": rng.integers(0, 2, (batch, length)).astype(np.int32),
                  "at": rng.integers(0, 9, (batch, length)).astype(np.int32)}
        names = list(values)
        for absent in ([], ["at"], ["at", "mask"], ["segments", "kinds"])[i % 4]:
            names[names.index(absent)] = None
            del values[absent]
        yield case("EmbedLayerNormalization", i, contrib("EmbedLayerNormalization", names, ["y", "m", "sum"], epsilon=1e-5),
                   values, outputs=("y", "m", "sum"))
        last = i % 2
        x = normal(rng, 2, 6, 3, 4)
        scale_, bias = normal(rng, 6), normal(rng, 6)
        groups = x.astype(np.float64).reshape(2, 3, -1)
        groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
        y = groups.reshape(x.shape) * scale_[:, None, None] + bias[:, None, None]
        y = y / (1 + np.exp(-y)) if i // 2 % 2 else y
        to_last = lambda v: np.ascontiguousarray(np.moveaxis(v, 1, -1)) if last else v
        yield case("GroupNorm", i, contrib("GroupNorm", ["x", "s", "b"], ["y"], groups=3, channels_last=last, activation=i // 2 % 2),
                   {"x": to_last(x), "s": scale_, "b": bias}, free={"x": (0, 1, 2) if last else (0, 2, 3)},
                   expected=[to_last(y.astype(F32))])


# --------------------------------------------------------------------- com.microsoft: attention
def attention(rng, count):
    for i in range(2 * count):
        batch, length, heads, size = int(rng.integers(1, 4)), int(rng.integers(1, 7)), int(rng.integers(1, 4)), int(rng.choice([4, 8]))
        hidden, width = heads * size, int(rng.integers(1, 9))
        past = int(rng.integers(1, 5)) if i % 4 == 3 else 0
        total = past + length
        values = {"x": normal(rng, batch, length, width), "w": normal(rng, width, 3 * hidden), "b": normal(rng, 3 * hidden)}
        names = ["x", "w", "b", None, None, None]
        form = i % 5
        if form == 1:
            values["m"] = rng.integers(1, total + 1, batch).astype(np.int32)
        if form == 2 and not past:
            start = rng.integers(0, length, batch)
            values["m"] = np.concatenate([[rng.integers(s + 1, length + 1) for s in start], start]).astype(np.int32)
        if form in (3, 4):
            values["m"] = rng.integers(0, 2, (batch, length, total)[::2 if form == 3 else 1]).astype(np.int32)
            values["m"][..., 0] = 1  # in rows that see nothing -10000 drowns the scores
        names[3] = "m" if "m" in values else None
        outputs = ["y"]
        if past:
            values["past"], names[4] = normal(rng, 2, batch, heads, past, size), "past"
            outputs.append("present")
        elif i % 3 == 2:
            values["bias"], names[5] = normal(rng, batch if i % 2 else 1, heads, length, total), "bias"
        attributes = {"num_heads": heads, "unidirectional": 0 if form == 2 else i // 2 % 2}
        free = {"x": (0, 1), "past": (1, 3), "m": (0, 1, 2), "bias": (2, 3)}
        if form in (1, 2):  # the size of the mask as a multiple of the batch says what it means
            free = {"x": (1,), "past": (3,), "bias": (2, 3)}
        yield case("Attention", i, contrib("Attention", names, outputs, **attributes), values, outputs, ("w", "b"), free=free,
                   tolerance=2e-5)

        if form != 4 and i % 3 != 2:
            kind = BYTES[i % 2]
            q = {"x": integers(rng, np.uint8, [batch, length, width]), "w": integers(rng, kind, [width, 3 * hidden]),
                 "b": values["b"], "xs": scale(rng), "ws": scale(rng), "m": values.get("m"), "xz": integers(rng, np.uint8, []),
                 "wz": integers(rng, kind, []), "past": values.get("past")}
            q = {k: v for k, v in q.items() if v is not None}
            names = [k if k in q else None for k in ("x", "w", "b", "xs", "ws", "m", "xz", "wz", "past")]
            if form in (0, 1):
                yield case("QAttention", i, contrib("QAttention", names, outputs, **attributes), q, outputs,
                           ("w", "b", "xs", "ws", "xz", "wz"), free=free, tolerance=2e-5)


def multi_head_attention(rng, count):
    for i in range(2 * count):
        batch, length, keys = int(rng.integers(1, 4)), int(rng.integers(1, 7)), int(rng.integers(1, 7))
        heads, size = int(rng.integers(1, 4)), int(rng.choice([4, 8]))
        hidden = heads * size
        form = ["plain", "packed", "packed_kv", "past", "cross"][i % 5]
        values = {"q": normal(rng, batch, length, hidden)}
        names = ["q"] + [None] * 7
        past = 3 if form == "past" else 0
        if form in ("packed", "past"):
            keys = length
        if form == "packed":
            values["q"] = normal(rng, batch, length, heads, 3, size)
        elif form == "packed_kv":
            values["k"] = normal(rng, batch, keys, heads, 2, size)
        elif form == "cross":
            values |= {"k": normal(rng, batch, heads, keys, size), "v": normal(rng, batch, heads, keys, size)}
        else:
            values |= {"k": normal(rng, batch, keys, hidden), "v": normal(rng, batch, keys, hidden)}
        for j, name in enumerate(("k", "v")):
            names[1 + j] = name if name in values else None
        if form in ("plain", "past") and i // 5 % 2 == 0:
            values["b"], names[3] = normal(rng, 3 * hidden), "b"
        total = past + keys
        if form in ("plain", "past") and i % 3 == 1:
            values["m"], names[4] = rng.integers(0, 2, (batch, total)).astype(np.int32), "m"
            values["m"][:, 0] = 1
        if i % 3 == 2:
            values["bias"], names[5] = normal(rng, 1, heads, length, total), "bias"
        outputs = ["y"]
        if past:
            values |= {"pk": normal(rng, batch, heads, past, size), "pv": normal(rng, batch, heads, past, size)}
            names[6:8] = "pk", "pv"
            outputs += ["present_k", "present_v"]
        causal = int(form in ("packed", "past") and i // 5 % 2 == 1)
        expected = None
        if form in ("packed", "packed_kv"):  # not in onnxruntime on the CPU
            q = values["q"][:, :, :, 0] if form == "packed" else values["q"].reshape(batch, length, heads, size)
            k, v = (values["q"][:, :, :, j] if form == "packed" else values["k"][:, :, :, j - 1] for j in (1, 2))
            scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(size) + values.get("bias", 0)
            scores = np.where(np.tri(length, keys) > 0, scores, -np.inf) if causal else scores
            expected = [np.einsum("bhqk,bkhd->bqhd", softmax(scores), v).reshape(batch, length, hidden).astype(F32)]
        free = {"q": (0, 1), "k": (0, 2) if form == "cross" else (0, 1), "v": (0, 2) if form == "cross" else (0, 1),
                "m": (0, 1), "bias": (2, 3), "pk": (0, 2), "pv": (0, 2)}
        yield case("MultiHeadAttention", i, contrib("MultiHeadAttention", names, outputs, num_heads=heads, unidirectional=causal),
                   values, outputs, free=free, tolerance=2e-5, expected=expected)


def group_query_attention(rng, count):
    for i in range(3 * count):
        batch, heads, group, size = int(rng.integers(1, 4)), 2, int(rng.choice([1, 2])), 32
        kv, room = heads // group, 0
        step = ["prompt", "decode", "ragged", "shared", "padded"][i % 5]
        length = {"prompt": 5, "padded": 6}.get(step, 1)
        totals = np.full(batch, length)
        if step == "padded":
            totals = rng.integers(1, length + 1, batch)
            totals[0] = length
        if step in ("decode", "ragged", "shared"):
            totals = np.full(batch, 7) if step == "decode" else rng.integers(3, 9, batch)
            room = 12 if step == "shared" else totals.max() - 1
        hidden = heads * size
        values = {"q": normal(rng, batch, length, hidden), "k": normal(rng, batch, length, kv * size),
                  "v": normal(rng, batch, length, kv * size)}
        if i % 4 == 3:  # packed
            values = {"q": np.concatenate(list(values.values()), axis=-1)}
        values |= {"pk": normal(rng, batch, kv, room, size), "pv": normal(rng, batch, kv, room, size)}
        values |= {"lens": (totals - 1).astype(np.int32), "total": np.array(totals.max(), np.int32)}
        names = [n if n in values else None for n in ("q", "k", "v", "pk", "pv", "lens", "total")] + [None] * 5
        attributes = {"num_heads": heads, "kv_num_heads": kv}
        if i % 2:
            angles = rng.uniform(0, 6, (16, size // 2 if i % 3 else size // 4))
            values |= {"cos": np.cos(angles).astype(F32), "sin": np.sin(angles).astype(F32)}
            names[7:9] = "cos", "sin"
            attributes |= {"do_rotary": 1, "rotary_interleaved": i // 2 % 2}
        if i % 3 == 1:
            attributes["local_window_size"] = 3
        if i % 3 == 2:
            attributes["softcap"] = 5.0
        if i % 6 == 4:
            attributes["smooth_softmax"] = 1
        if i % 6 == 5:
            values["sink"], names[11] = normal(rng, heads), "sink"
        outputs = ["y", "present_k", "present_v"]
        # Behind the end of a sequence its cache is not defined, and neither are queries that are padding.
        rows = np.arange(max(room, totals.max()))[None, None, :, None] < totals[:, None, None, None]
        queries = np.arange(length)[None, :, None] < totals[:, None, None] if step == "padded" else np.array(True)
        yield case("GroupQueryAttention", i, contrib("GroupQueryAttention", names, outputs, **attributes), values, outputs,
                   free={"q": (0, 1), "k": (0, 1), "v": (0, 1), "pk": (0, 2), "pv": (0, 2), "lens": (0,)},
                   tolerance=2e-5, defined={"present_k": rows, "present_v": rows, "y": queries})


def rotary_embedding(rng, count):
    for i in range(count):
        batch, length, heads, size = int(rng.integers(1, 4)), int(rng.integers(1, 6)), int(rng.integers(1, 4)), 8
        part = 4 if i % 3 == 2 else size
        angles = rng.uniform(0, 6, (20, part // 2))
        values = {"x": normal(rng, batch, length, heads * size) if i % 2 or part != size else normal(rng, batch, heads, length, size),
                  "at": np.array([3]) if i % 4 == 1 else rng.integers(0, 20, (batch, length)),
                  "cos": np.cos(angles).astype(F32), "sin": np.sin(angles).astype(F32)}
        attributes = {"interleaved": i // 2 % 2}
        if part != size:
            attributes |= {"rotary_embedding_dim": part, "num_heads": heads}
        yield case("RotaryEmbedding", i, contrib("RotaryEmbedding", list(values), ["y"], **attributes), values,
                   free={"x": (0, 2) if values["x"].ndim == 4 else (0, 1), "at": (0, 1) if values["at"].ndim == 2 else ()},
                   constants=("cos", "sin"))


# --------------------------------------------------------------------- com.microsoft: experts, others
def experts(rng, count):
    """MoE and QMoE; in numpy where weights are quantized and not normalized: onnxruntime normalizes always there."""
    for i in range(count):
        tokens, hidden, inner, number, k = int(rng.integers(1, 6)), 32, 16, 4, 1 + i % 2
        activation = ["relu", "silu", "identity", "swiglu"][i % 4]
        fused = 2 if activation == "swiglu" else 1
        x, router = normal(rng, tokens, hidden), normal(rng, tokens, number)
        bits = [0, 4, 8][i % 3]
        def layer(rows, columns):
            if not bits:
                w = normal(rng, number, rows, columns) * F32(0.3)
                return [w], w
            packed, s = integers(rng, np.uint8, [number, rows, columns * bits // 8]), scale(rng, number, rows)
            fields = np.stack([packed >> (bits * j) & (2 ** bits - 1) for j in range(8 // bits)], -1).reshape(number, rows, columns)
            return [packed, s], (fields.astype(np.float64) - 2 ** (bits - 1)) * s[..., None]
        (first, w1), (second, w2) = layer(fused * inner, hidden), layer(hidden, inner)
        b1, b2 = normal(rng, number, fused * inner), normal(rng, number, hidden)
        order = np.argsort(-router, axis=1)[:, :k]
        chosen = np.take_along_axis(softmax(router.astype(np.float64)), order, 1)
        if i % 2:
            chosen /= chosen.sum(1, keepdims=True)
        y = np.zeros((tokens, hidden))
        for t, j in itertools.product(range(tokens), range(k)):
            e = order[t, j]
            h = w1[e] @ x[t] + b1[e]
            if activation == "relu":
                h = np.maximum(h, 0)
            elif activation == "silu":
                h = h / (1 + np.exp(-h))
            elif activation == "swiglu":
                g, linear = np.minimum(h[0::2], 2), np.clip(h[1::2], -2, 2)
                h = g / (1 + np.exp(-1.5 * g)) * (linear + 0.5)
            y[t] += chosen[t, j] * (w2[e] @ h + b2[e])
        op = "QMoE" if bits else "MoE"
        values = {"x": x, "router": router}
        for name, tensors, bias in (("w1", first, b1), ("w2", second, b2)):
            values |= {name + "_" * n: v for n, v in enumerate(tensors)} | {"b" + name: bias}
        attributes = {"k": k, "activation_type": activation, "normalize_routing_weights": i % 2}
        if activation == "swiglu":
            attributes |= {"swiglu_fusion": 1, "activation_alpha": 1.5, "activation_beta": 0.5, "swiglu_limit": 2.0}
        if bits:
            attributes["expert_weight_bits"] = bits
        yield case(op, i, contrib(op, list(values), ["y"], **attributes), values, constants=[v for v in values if "w" in v],
                   free={"x": (0,), "router": (0,)},
                   expected=[y.astype(F32)] if bits and i % 2 == 0 else None, tolerance=2e-5)


def others(rng, count):
    for i in range(count):
        size = 1 + i % 4
        values = {"ids": rng.integers(0, 5, (2, int(rng.integers(1, 12)))).astype(np.int64), "scores": normal(rng, 2, 5)}
        yield case("NGramRepeatBlock", i, contrib("NGramRepeatBlock", list(values), ["y"], ngram_size=size), values)
        values = {"a": normal(rng, int(rng.integers(1, 6)), 4), "b": normal(rng, int(rng.integers(1, 6)), 4)}
        yield case("CDist", i, contrib("CDist", ["a", "b"], ["y"], metric=["sqeuclidean", "euclidean"][i % 2]), values, tolerance=2e-5)
        n = int(rng.integers(1, 7))
        kind = [F32, np.float64][i % 2]
        x = (rng.standard_normal((*[[], [2], [2, 3]][i % 3], n, n)) + 3 * np.eye(n)).astype(kind)
        yield case("Inverse", i, contrib("Inverse", ["x"], ["y"]), {"x": x}, tolerance=1e-4 if kind == F32 else 1e-12)
        x = rng.integers(0, 4, int(rng.integers(1, 12))).astype(F32)
        yield case("Unique", i, contrib("Unique", ["x"], ["y", "at", "count"]), {"x": x}, outputs=("y", "at", "count"))
        values = {"x": normal(rng, 4, 5), "p": np.array([1, 2, 0, 3], np.int64)}
        mode = ["constant", "reflect", "edge"][i % 3]
        if mode == "constant":
            values["v"] = np.array(1.5, F32)
        yield case("Pad", i, contrib("Pad", list(values), ["y"], mode=mode), values, constants=("p",))


def cases(count):
    rng = np.random.default_rng(1)
    families = (quantize_linear, dequantize_linear, narrow_movement, integer_products, integer_convolutions,
                quantized_elementwise, quantized_softmax, quantized_pooling, matmul_n_bits, fused_products, activations,
                normalization, attention, multi_head_attention, group_query_attention, rotary_embedding, experts, others,
                gather_block_quantized)
    return itertools.chain.from_iterable(family(rng, count) for family in families)


if __name__ == "__main__":
    sys.exit(irregular.main(cases, __doc__, default=4))
