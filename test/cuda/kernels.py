#!/usr/bin/env python3
"""GPU kernels on random shapes, thread by thread on the CPU, against --opt=0.

    kernels.py [--seed=N] [--count=N] [--only=KIND]

Every case is a small ONNX model, compiled with --gpu=emulate (test/support/simt/simt.c: each GPU thread is a fiber;
barriers and shuffles by their definition; bounds, alignment and races are checked) and with --opt=0, with fixed sizes or
sizes known at run time. Errors may be 1e-5 of an output's scale, 2e-3 with f16 and 2e-2 with bf16 (--opt=0 rounds each step);
functions are compared with f64, number by number.
Ends with `N passed, N failed`; exit code 1 if any case fails.
"""
import math
import os
import random
import subprocess
import sys
import tempfile

import ml_dtypes
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
        self.text = ""  # the model as MLIR, where it is no ONNX
        self.expects = b""  # in the name of a kernel of the artifact
        self.exact = None  # the only result in f64, from which it may be off by `allowed`
        self.allowed = None

    def size(self, *choices):
        return self.rng.choice(choices or (1, 2, 3, 5, 8, 17, 32, 33, 64, 70))

    def input(self, shape, value=None, dims=None):
        """Of normal numbers, or `value`; `dims` may name some of the sizes."""
        name = f"x{len(self.inputs)}"
        dims = dims or [f"{name}_{i}" if self.dynamic and self.rng.random() < 0.5 else d for i, d in enumerate(shape)]
        self.feeds[name] = self.data.standard_normal(shape).astype(np.float32) if value is None else value
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(self.feeds[name].dtype), dims))
        return name

    def floats(self, shape):
        """An input of f32, f16 or bf16, and its type."""
        kind = self.rng.choice([np.float32, np.float32, np.float16, ml_dtypes.bfloat16])
        name = self.input(shape, self.data.standard_normal(shape).astype(kind))
        return name, helper.np_dtype_to_tensor_dtype(np.dtype(kind))

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

    def outputs_of(self, op, inputs, count, **attributes):
        """The names of several results of a node."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attributes))
        return names

    def save(self, path, results):
        """`results` are names, or pairs of a name and its type where that is not float."""
        values = []
        for r in [results] if isinstance(results, str) else results:
            name, kind = (r, TensorProto.FLOAT) if isinstance(r, str) else r
            values.append(helper.make_tensor_value_info(name, kind, None))
        graph = helper.make_graph(self.nodes, "g", self.inputs, values, self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)


def elementwise(c):
    shape = [c.size() for _ in range(c.rng.randrange(1, 4))]
    other = [1 if c.rng.random() < 0.3 else d for d in shape][c.rng.randrange(len(shape)):]
    y = c.node(c.rng.choice(["Add", "Mul", "Sub", "Max"]), c.input(shape), c.input(other or [1]))
    for op in c.rng.sample(["Sigmoid", "Tanh", "Relu", "Exp", "Erf", "Softplus", "Abs"], 2):
        y = c.node(op, y)
    return y


def functions(c):
    """Each number by itself, against f64: of all sizes, and what is none."""
    x = np.concatenate([c.data.uniform(-12, 12, 3000), c.data.standard_normal(3000), np.geomspace(1e-6, 100, 500), [0, 1e30, np.inf]])
    x = np.concatenate([x, -x]).astype(np.float32)
    wide = x.astype(np.float64)
    erf, erfc = np.vectorize(math.erf), np.vectorize(math.erfc)
    sigmoid = lambda v: np.where(v < 0, np.exp(np.minimum(v, 0)), 1) / (1 + np.exp(-abs(v)))
    # Where a factor is infinite and the other 0, the limit.
    with np.errstate(all="ignore"):
        gelu = np.where(wide == -np.inf, 0, wide * 0.5 * erfc(-wide / math.sqrt(2)))
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide ** 3)
        exact = {"Erf": erf(wide), "Gelu": gelu, "Gelu tanh": wide * sigmoid(2 * inner), "Tanh": np.tanh(wide), "Sigmoid": sigmoid(wide),
                 "Exp": np.exp(wide), "Softplus": np.maximum(wide, 0) + np.log1p(np.exp(-abs(wide)))}
    op = c.rng.choice(sorted(exact))
    c.exact = exact[op]
    if op == "Exp":  # f32 ends, and the hardware's numbers do before denormals
        x = np.where(x > 88, 88, np.where(x < -87, -87, x))
        c.exact = np.exp(x.astype(np.float64))
    if op == "Gelu tanh":  # there is no limit
        x = np.where(x == -np.inf, 0, x)
        c.exact = np.where(wide == -np.inf, 0, c.exact)
    # Of numbers near 0, which are differences from 1 or exponentials of large numbers, what is left of 1. Denormals may be 0.
    c.allowed = 5e-7 * abs(c.exact) + (1.5e-7 if op in ("Gelu tanh", "Sigmoid", "Gelu") else 1e-37) * (1 - np.clip(x, -20, 0)) * (x < -1)
    kind = np.float16 if op == "Gelu" and c.rng.random() < 0.5 else np.float32
    if kind == np.float16:
        x = np.clip(x, -60000, 60000).astype(kind)
        wide = x.astype(np.float64)
        c.exact = wide * 0.5 * erfc(-wide / math.sqrt(2))
        c.allowed = 5.5e-4 * abs(c.exact) + 6e-8
    y = c.node(op.split()[0], c.input(x.shape, x), **({"approximate": "tanh"} if "tanh" in op else {}))
    return [(y, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))]


def reduction(c):
    shape = [c.size(), c.size(), c.size(1, 4, 33)]
    axes = c.rng.choice([[0], [1], [2], [1, 2], [0, 2]])
    x, kind = c.floats(shape)
    y = c.node(c.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax"]), x, c.const(np.array(axes)), keepdims=c.rng.randrange(2))
    return [(y, kind)]


def softmax(c):
    x, kind = c.floats([c.size(), c.size(1, 3, 17, 64, 200, 1030)])
    return [(c.node(c.rng.choice(["Softmax", "Softmax", "LogSoftmax"]), x, axis=c.rng.choice([-1, -1, 0])), kind)]


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


def transposed(c):
    group = c.rng.choice([1, 1, 2])
    ci, co = group * c.size(1, 3, 8), group * c.size(1, 4, 6)
    k, stride = c.size(1, 2, 3), c.size(1, 2, 3)
    c.dynamic = False
    x = c.input([c.size(1, 2), ci, c.size(1, 4, 7), c.size(3, 6)])
    y = c.node("ConvTranspose", x, c.weight(ci, co // group, k, k), *([c.weight(co)] if c.rng.random() < 0.7 else []), group=group,
               strides=[stride, c.size(1, 2)], dilations=[1, c.size(1, 2)], pads=[c.rng.randrange(k) for _ in range(4)])
    return c.node("Relu", y) if c.rng.random() < 0.5 else y


def movement(c):
    shape = [c.size(1, 2, 5), c.size(2, 8, 17), c.size(4, 33), c.size(1, 6)]
    y = c.node("Transpose", c.input(shape), perm=c.rng.sample(range(4), 4))
    y = c.node("Slice", y, c.const(np.array([0, 0])), c.const(np.array([100, -1])), c.const(np.array([0, 1])))
    return c.node("Tanh", c.node("Concat", y, y, axis=c.rng.randrange(4)))


def transposition(c):
    """Axes that change places through tiles of shared memory: alone, below a map, and as part of a concatenation."""
    kind = c.rng.choice([np.float32, np.float32, np.float16, np.int8, np.float64, np.int64])
    long = lambda: c.rng.choice([8, 16, 20, 33, 40, 64, 70, 100, 128, 130, 136, 200, 256])
    # Tiles are larger where there are many.
    shape = [2, 520, 2, c.size(520, 529)] if c.rng.random() < 0.15 else [c.size(1, 2, 3), long(), c.size(1, 1, 3), long()]
    draw = lambda own: (20 * c.data.standard_normal(own)).astype(kind)
    x, onnx_type = c.input(shape, draw(shape)), helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    perm = c.rng.choice([[0, 3, 2, 1], [3, 0, 1, 2], [0, 2, 3, 1], [3, 2, 1, 0], c.rng.sample(range(4), 4)])
    if c.rng.random() < 0.3:
        x = c.node("Slice", x, c.const(np.array([c.size(0, 1, 4)])), c.const(np.array([1000])), c.const(np.array([c.size(1, 3)])))
        shape = None
    y = c.node("Transpose", x, perm=perm)
    use = c.rng.choice(["none", "none", "map", "both", "concat"])
    if use == "map" and shape:
        other = [d if c.rng.random() < 0.7 else 1 for d in (shape[p] for p in perm)]
        y = c.node("Add", y, c.input(other, draw(other)))
    elif use == "both" and shape:
        y = c.node("Mul", y, c.node("Transpose", c.input(shape, draw(shape)), perm=perm))
    elif use == "concat":
        y = c.node("Concat", y, y, axis=c.rng.randrange(4))
    return [(y, onnx_type)]


def pooling(c):
    """In either layout: channels are last beside a convolution."""
    channels = c.size(3, 8, 16)
    shape, kind = [c.size(1, 2), channels, c.size(6, 9), c.size(6, 11, 16, 24, 32)], c.rng.choice([np.float32, np.float16])
    convolves = c.rng.random() < 0.5
    x = c.input(shape, None if convolves else c.data.standard_normal(shape).astype(kind))
    if convolves:
        kind = np.float32
        c.dynamic = False
        c.inputs[0].type.tensor_type.shape.CopyFrom(helper.make_tensor_value_info("", 1, c.feeds[x].shape).type.tensor_type.shape)
        x = c.node("Conv", x, c.weight(8, channels, 1, 1))
    window = c.size(2, 3, 3, 5)
    op = c.rng.choice(["MaxPool", "AveragePool", "LpPool"])
    attributes = {"MaxPool": {}, "AveragePool": {"count_include_pad": c.rng.randrange(2)}, "LpPool": {"p": c.size(1, 2, 3)}}[op]
    y = c.node(op, x, kernel_shape=[window, c.size(2, 3)], strides=[2, c.size(1, 2)], pads=[1, c.rng.randrange(2), 1, 1],
               dilations=[1, c.size(1, 1, 2)], ceil_mode=c.rng.randrange(2), **attributes)
    return [(y, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))]


def resize(c):
    channels = c.size(3, 8)
    c.dynamic = False
    shape, kind, convolves = [1, channels, c.size(4, 7), c.size(5, 8, 16)], c.rng.choice([np.float32, np.float16]), c.rng.random() < 0.5
    x = c.input(shape, None if convolves else c.data.standard_normal(shape).astype(kind))
    if convolves:
        x = c.node("Conv", x, c.weight(channels, channels, 1, 1))
    mode = c.rng.choice(["nearest", "nearest", "linear", "cubic"])
    scales = c.const(np.array([1, 1, c.rng.choice([1, 2, 3, 0.6]), c.rng.choice([2, 2, 1, 3, 4, 8, 1.5])], np.float32))
    modes = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners", "tf_half_pixel_for_nn"]
    attributes = {"nearest_mode": c.rng.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])} if mode == "nearest" else {}
    y = c.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode=c.rng.choice(modes), **attributes)
    if not convolves:
        return [(y, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))]
    pads = [c.rng.randrange(3) for _ in range(8)]
    y = c.node("Pad", y, c.const(np.array(pads)), mode=c.rng.choice(["constant", "edge"]))
    return c.node("Conv", y, c.weight(4, channels + pads[1] + pads[5], 1, 1)) if c.rng.random() < 0.5 else y


def lookup(c):
    """Rows of tables, constant ones in fewer bits, too, and elements along other axes."""
    rows, width = c.size(3, 40), c.size(1, 5, 16, 24, 40, 64)
    shape = [c.size(1, 4), c.size(1, 7)]
    if c.rng.random() < 0.5:
        name, low, high = c.rng.choice([("int8", -128, 127), ("uint8", 0, 255), ("int4", -8, 7), ("uint4", 0, 15)])
        kind = {"int8": np.int8, "uint8": np.uint8, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}[name]
        draw = lambda *own: c.data.integers(low, high + 1, own).astype(kind)
        block = c.rng.choice([b for b in (8, 16) if width % b == 0] or [0])
        own, attributes = ([rows, width // block], {"axis": 1, "block_size": block}) if block else ([rows], {"axis": 0})
        inputs = [c.const(draw(rows, width)), c.const(c.data.uniform(0.01, 0.1, own).astype(np.float32))]
        inputs += [c.const(draw(*own))] if c.rng.random() < 0.7 else []
        table, axis, c.expects = c.node("DequantizeLinear", *inputs, **attributes), 0, b"gather_narrow"
    else:
        axis = c.rng.randrange(3)
        table = c.input([2, rows, width])
    limit = rows if c.expects or axis == 1 else 2 if axis == 0 else width
    index = c.input(None, c.data.integers(-limit, limit, shape), ["i" if c.dynamic else shape[0], shape[1]])
    return c.node("Gather", table, index, axis=axis)


def attention(c):
    shared, group, width, keys = c.size(1, 2), c.size(1, 1, 3), c.size(8, 16, 40, 64, 100), c.size(1, 7, 33, 70, 150)
    value_width = c.size(8, 24, width, width)
    queries = keys if c.rng.random() < 0.4 else c.size(1, 1, 2, 4, 5, 40)
    batch = c.size(1, 2)
    kind = c.rng.choice([np.float32] * 3 + [np.float16, ml_dtypes.bfloat16])
    draw = lambda *shape: c.data.standard_normal(shape).astype(kind)
    # Sizes that are named: of the queries, the keys, or both.
    q_dim, k_dim = ("q" if c.dynamic and c.rng.random() < 0.7 else queries), ("k" if c.dynamic else keys)
    c.dynamic = False
    shapes = [(shared * group, queries, q_dim, width), (shared, keys, k_dim, width), (shared, keys, k_dim, value_width)]
    q, k, v = (c.input(None, draw(batch, h, n, w), [batch, h, dim, w]) for h, n, dim, w in shapes)
    mask = c.rng.choice(["", "", "bool", "float"])
    if mask:
        shape = c.rng.choice([[queries, keys], [batch, 1, queries, keys], [1, shared * group, 1, keys]])
        value = c.data.random(shape) < 0.7
        value[..., 0] = True
        dims = [q_dim if n == queries and i == len(shape) - 2 else k_dim if i == len(shape) - 1 else n for i, n in enumerate(shape)]
        mask = c.input(None, value if mask == "bool" else np.where(value, c.data.standard_normal(shape), -np.inf).astype(kind), dims)
    attributes = {"softcap": 5.0} if c.rng.random() < 0.2 else {}
    causal = int(queries == keys and not mask and c.rng.random() < 0.5)
    y = c.node("Attention", q, k, v, mask, is_causal=causal, **attributes)
    if c.rng.random() < 0.4:
        y = c.node("Transpose", y, perm=[0, 2, 1, 3])
    return [(y, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))]


def recurrent(c):
    op = c.rng.choice(["LSTM", "LSTM", "GRU", "GRU", "RNN"])
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    steps, batch, width, hidden = c.size(1, 2, 7), c.size(1, 2, 3, 5), c.size(1, 8, 20), c.size(1, 5, 16, 33, 64)
    direction = c.rng.choice(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    scale = hidden ** -0.5
    draw = lambda *shape: (scale * c.data.standard_normal(shape)).astype(np.float32)
    x = c.input([steps, batch, width], dims=["steps" if c.dynamic else steps, "batch" if c.dynamic else batch, width])
    inputs = [x, c.const(draw(directions, gates * hidden, width)), c.const(draw(directions, gates * hidden, hidden))]
    inputs.append(c.const(draw(directions, 2 * gates * hidden)) if c.rng.random() < 0.7 else "")
    lengths = c.data.integers(1, steps + 1, batch).astype(np.int32)
    inputs.append(c.input(None, lengths, ["batch" if c.dynamic else batch]) if c.rng.random() < 0.3 else "")
    state = lambda: c.input(None, draw(directions, batch, hidden), [directions, "batch" if c.dynamic else batch, hidden])
    inputs.append(state() if c.rng.random() < 0.5 else "")
    attributes = {"direction": direction, "hidden_size": hidden}
    if op == "GRU":
        attributes["linear_before_reset"] = c.rng.randrange(2)
    if op == "LSTM":
        inputs += [state() if c.rng.random() < 0.5 else "", c.const(draw(directions, 3 * hidden)) if c.rng.random() < 0.3 else ""]
        if c.rng.random() < 0.2:
            attributes["clip"] = 0.5
    return c.outputs_of(op, inputs, 3 if op == "LSTM" else 2, **attributes)


def topk(c):
    shape = [c.size(1, 3, 9), c.size(1, 8, 70, 300, 600), c.size(1, 1, 3)]
    axis = c.rng.choice([1, 1, 0])
    k = c.rng.randint(1, shape[axis])
    values = c.data.integers(-9, 9, shape)
    kind = c.rng.choice([np.float32, np.float32, np.float16, np.int32, np.uint8])
    x = c.input(shape, values.astype(kind) if c.rng.random() < 0.5 or kind != np.float32 else None)
    value, index = c.outputs_of("TopK", [x, c.const(np.array([k]))], 2, axis=axis, largest=c.rng.randrange(2))
    return [(value, helper.np_dtype_to_tensor_dtype(np.dtype(kind))), (index, TensorProto.INT64)]


def rotary(c):
    batch, heads, length, width = c.size(1, 2), c.size(1, 3), c.size(1, 5, 17), c.size(4, 16, 30)
    x = c.input([batch, heads, length, width])
    if c.dynamic:
        c.inputs[0].type.tensor_type.shape.dim[3].dim_value = width
    angles = c.data.standard_normal((batch, length, width // 2))
    cos, sin = (c.const(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
    return c.node("RotaryEmbedding", x, cos, sin, interleaved=c.rng.randrange(2))


def narrow_weights(c):
    """Weights of 8 and 4 bits with scales of columns or blocks, and of 16-bit floats."""
    depth, columns, rows = c.size(8, 17, 64, 96, 160), c.size(2, 16, 33), c.size(1, 1, 2, 4, 5, 40)
    c.dynamic, dynamic = False, c.dynamic
    c.expects = b"gemv_narrow" if dynamic or rows <= 4 else b"matmul_narrow"
    x = c.input([rows, depth], dims=["rows" if dynamic else rows, depth])
    if c.rng.random() < 0.3:
        kind = c.rng.choice([np.float16, ml_dtypes.bfloat16])
        w = c.node("Cast", c.const(c.data.standard_normal((depth, columns)).astype(kind)), to=TensorProto.FLOAT)
        return c.node("MatMul", x, w)
    name, low, high = c.rng.choice([("int8", -128, 127), ("uint8", 0, 255), ("int4", -8, 7), ("uint4", 0, 15)])
    kind = {"int8": np.int8, "uint8": np.uint8, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}[name]
    q = c.data.integers(low, high + 1, (depth, columns)).astype(kind)
    block = c.rng.choice([b for b in (8, 16, 32) if depth % b == 0] or [0])
    shape, attributes = [columns], {"axis": 1}
    if block and c.rng.random() < 0.6:
        shape, attributes = [depth // block, columns], {"axis": 0, "block_size": block}
    inputs = [c.const(q), c.const(c.data.uniform(0.01, 0.1, shape).astype(np.float32))]
    if c.rng.random() < 0.7:
        inputs.append(c.const(c.data.integers(low, high + 1, shape).astype(kind)))
    y = c.node("MatMul", x, c.node("DequantizeLinear", *inputs, **attributes))
    if c.rng.random() < 0.5:
        y = c.node("Add", y, c.weight(columns))
    return c.node("Relu", y) if c.rng.random() < 0.3 else y


def mixture(c):
    """nn.moe, which no ONNX operator is, as text."""
    rows, width, hidden, out, experts = c.size(1, 2, 8, 9, 40), c.size(3, 8, 32), c.size(4, 17, 64), c.size(2, 8, 33), c.size(1, 4, 7)
    gated, biased = c.rng.random() < 0.6, c.rng.random() < 0.5
    score = c.data.random((rows, experts)) * (c.data.random((rows, experts)) < 0.4)
    shapes = {"x": ["?" if c.dynamic else rows, width], "score": ["?" if c.dynamic else rows, experts], "w1": [experts, hidden, width],
              "w2": [experts, out, hidden]}
    if biased:
        shapes.update(bias1=[experts, hidden], bias=[out])
    if gated:
        shapes["w3"] = [experts, hidden, width]
        if biased:
            shapes["bias3"] = [experts, hidden]
    order = [n for n in ("x", "score", "w1", "bias1", "w3", "bias3", "w2", "bias") if n in shapes]
    for name in order:
        value = c.data.standard_normal([rows if d == "?" else d for d in shapes[name]])
        c.feeds[name] = (score if name == "score" else value).astype(np.float32)
    type_of = lambda dims: "tensor<" + "x".join(map(str, dims)) + "xf32>"
    result = type_of(["?" if c.dynamic else rows, out])
    arguments = ", ".join(f'%{n}: {type_of(shapes[n])} {{nn.name = "{n}"}}' for n in order)
    # In the order of the operation's operands, with their words.
    operands = ["x", "w1", "bias1", "w3", "bias3", "w2", "bias", "score"]
    types = ", ".join(type_of(shapes[n]) for n in operands if n in shapes)
    words = " ".join((f"{n} " if n != "x" else "") + f"%{n}" for n in order)
    body = "^bb0(%a: f32, %b: f32):\n %z = arith.constant 0.0 : f32\n %m = arith.maximumf %a, %z : f32\n %r = arith.mulf %m, %b : f32" \
        if gated else "^bb0(%a: f32):\n %z = arith.constant 0.0 : f32\n %r = arith.maximumf %a, %z : f32"
    c.text = f"""func.func @main({arguments}) -> ({result} {{nn.name = "y"}}) {{
  %y = nn.moe {words} : ({types}) -> {result} {{
    {body}
    nn.yield %r : f32
  }}
  return %y : {result}
}}
"""


KINDS = {f.__name__: f for f in (elementwise, functions, reduction, softmax, normalization, matmul, convolution, depthwise, transposed,
                                 movement, transposition, pooling, resize, lookup, attention, recurrent, topk, rotary, narrow_weights,
                                 mixture)}
TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2}


def simt(folder):
    """The emulator's object file."""
    out = os.path.join(folder, "simt.o")
    if not os.path.exists(out):
        subprocess.run(["/usr/lib/llvm-22/bin/clang", "-O2", "-fPIC", "-c", SIMT, "-o", out], check=True)
    return out


def run(seed, kind, folder, arguments):
    c = Case(seed * 7919 + sorted(KINDS).index(kind))
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    results = KINDS[kind](c)
    if c.text:
        model = os.path.join(folder, "model.mlir")
        with open(model, "w") as f:
            f.write(c.text)
    else:
        c.save(model, results)
    title = f"{kind} --seed={seed}{' dynamic' if c.dynamic else ''} {[list(v.shape) for v in c.feeds.values()]}"
    outputs = []
    for flags in (["--opt=0"], ["--gpu=emulate", f"--link={simt(folder)}"]):
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            with open(out, "rb") as f:
                if outputs and c.expects not in f.read():
                    return [f"{title}: no kernel {c.expects.decode()}"]
            # A process of its own: the emulator ends it where a kernel breaks a rule.
            feeds, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
            np.savez(feeds, **c.feeds)
            process = subprocess.run([nnopt.tool("nnopt-run"), out, f"--inputs={feeds}", f"--outputs={result}", "--quiet",
                                      "--threads=1"], capture_output=True, text=True, timeout=120)
            if process.returncode:
                return [f"{title} {flags}: exit {process.returncode}: {(process.stderr + process.stdout).strip()[-300:]}"]
            with np.load(result) as arrays:
                outputs.append({name: arrays[name] for name in arrays.files})
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            return [f"{title} {flags}: {e}"]
    tolerance = max([TOLERANCES.get(v.dtype.name, 1e-5) for v in c.feeds.values()])
    if c.exact is not None:
        got, = outputs[1].values()
        with np.errstate(invalid="ignore"):
            off = ~((abs(got - c.exact) <= c.allowed) | (got == c.exact))
        x, = c.feeds.values()
        return [f"{title}: {got[off][0]!r} of {x[off][0]!r}, not {c.exact[off][0]!r} ({off.sum()} of {off.size})"] if off.any() else []
    errors = {name: nnopt.difference(comparable(outputs[1][name]), comparable(want)) for name, want in outputs[0].items()}
    return [f"{title}: error {e:.2e} of {name}" for name, e in errors.items() if not e <= tolerance]


def comparable(array):
    """bf16, which numpy lacks, comes as raw bytes."""
    return array.view(ml_dtypes.bfloat16) if array.dtype.kind == "V" else array


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 6, run))
