"""Elementwise, reduction, normalization, pooling and data movement operators of random shapes.

    ops_memory.py [--seed=N] [--rounds=N] [--only=FAMILY,...] [--target=CPU] [-v]

Every round makes a model of independent cases for each family: single nodes, and nodes between convolutions.
Each model is compiled at --opt=0 (plain loops) and by default (fast kernels), once with the sizes fixed and once
with every dimension symbolic, and run on one and on three threads. The expected values are those of onnxruntime,
or of the reference evaluator of the onnx package where onnxruntime has no kernel. Ends with `N passed, N failed`:
a case counts once for each level, kind of sizes and number of threads.
"""
import argparse
import os
import random
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

OPSET = 20
FLOATS = [np.float32, np.float32, np.float32, np.float64, np.float16]
INTS = [np.int32, np.int64, np.int8, np.uint8, np.uint32, np.uint64, np.int16, np.uint16]
# Largest difference relative to the scale of a result: rounding of the type, and the different order
# of sums.
TOLERANCE = {np.dtype(np.float16): 4e-3, np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-10}


class Cases:
    """The cases of one model: each a list of nodes and the names of its outputs; inputs with data, constants."""

    def __init__(self, rng):
        self.rng = rng
        self.data = np.random.default_rng(rng.randrange(1 << 30))
        self.nodes, self.inputs, self.constants, self.outputs, self.tolerance = [], {}, [], [], {}
        self.fixed = set()  # inputs whose sizes stay fixed: what the compiler must know

    def size(self, largest=40):
        pick = self.rng.random()
        if pick < 0.15:
            return 1
        if pick < 0.5:
            return self.rng.randint(2, 7)
        if pick < 0.8:
            return self.rng.choice([8, 16, 32]) if largest >= 32 else self.rng.randint(1, largest)
        return self.rng.randint(1, largest)

    def shape(self, low=0, high=4, largest=40):
        shape = [self.size(largest) for _ in range(self.rng.randint(low, high))]
        if self.rng.random() < 0.03 and shape:
            shape[self.rng.randrange(len(shape))] = 0
        return shape

    def array(self, shape, dtype, low=-4, high=4):
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return self.data.random(shape) < 0.5
        if dtype.kind == "f":
            return np.asarray(self.data.uniform(low, high, shape)).astype(dtype)
        info = np.iinfo(dtype)
        low, high = max(info.min, int(np.floor(low))), min(info.max, int(np.ceil(high)))
        return np.asarray(self.data.integers(low, high, shape, endpoint=True)).astype(dtype)

    def input(self, value):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = np.asarray(value)
        return name

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def fixed_input(self, value):
        self.fixed.add(self.input(value))
        return f"x{len(self.inputs) - 1}"

    def operand(self, value):
        """An input or, sometimes, a constant."""
        return self.constant(value) if self.rng.random() < 0.25 else self.input(value)

    def node(self, op, inputs, outputs=1, tolerance=None, **attributes):
        names = [f"y{len(self.outputs) + i}" for i in range(outputs)]
        self.outputs += names
        self.nodes.append(([helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes)], names))
        if tolerance:
            self.tolerance.update({n: tolerance for n in names})

    def between_convolutions(self, channels, spatial, op, inputs, tolerance, **attributes):
        """`op` between two 1x1 convolutions, which makes the compiler choose channels last for it."""
        number = len(self.nodes)
        weight = self.constant(self.array([channels, channels] + [1] * len(spatial), np.float32, -0.3, 0.3))
        name = f"y{len(self.outputs)}"
        self.outputs.append(name)
        x = self.fixed_input(self.array([self.rng.randint(1, 2), channels] + spatial, np.float32))
        nodes = [helper.make_node("Conv", [x, weight], [f"a{number}"], name=f"first_{number}"),
                 helper.make_node(op, [f"a{number}"] + inputs, [f"b{number}"], name=f"{op}_{number}", **attributes),
                 helper.make_node("Conv", [f"b{number}", weight], [name], name=f"last_{number}")]
        self.nodes.append((nodes, [name]))
        self.tolerance[name] = tolerance

    def model(self, dynamic, nodes=None):
        cases = nodes or self.nodes
        nodes = [n for group, _ in cases for n in group]
        used = {i for n in nodes for i in n.input}
        made = [o for _, outputs in cases for o in outputs]
        values = []
        for name, value in self.inputs.items():
            if name not in used:
                continue
            dims = [d if name in self.fixed else f"{name}_{i}" if dynamic == "symbols" else f"n{d}" if dynamic == "names" else d
                    for i, d in enumerate(value.shape)]
            values.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), dims))
        graph = helper.make_graph(nodes, "ops", values, [helper.make_empty_tensor_value_info(o) for o in made],
                                  [c for c in self.constants if c.name in used])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


# --------------------------------------------------------------------- families
def unary(c):
    ops = {"Abs": {}, "Neg": {}, "Sign": {}, "Ceil": {}, "Floor": {}, "Round": {}, "Exp": {}, "Sin": {}, "Cos": {},
           "Tan": dict(low=-1.2, high=1.2), "Asin": dict(low=-1, high=1), "Acos": dict(low=-1, high=1), "Atan": {},
           "Sinh": {}, "Cosh": {}, "Tanh": {}, "Asinh": {}, "Acosh": dict(low=1, high=9),
           "Atanh": dict(low=-0.9, high=0.9), "Erf": {}, "Sigmoid": {}, "Relu": {}, "Softplus": {}, "Softsign": {},
           "Reciprocal": dict(low=0.5), "Mish": {}, "HardSwish": {}, "IsNaN": {}, "Sqrt": dict(low=0),
           "Log": dict(low=0.01), "Elu": {}, "Celu": {}, "Selu": {}, "ThresholdedRelu": {}, "Shrink": {},
           "LeakyRelu": {}, "HardSigmoid": {}, "Gelu": {}, "IsInf": {}, "Identity": {}}
    for op in c.rng.sample(sorted(ops), 8):
        x = c.array(c.shape(), np.float32 if c.rng.random() < 0.8 else np.float64, **ops[op])
        attributes = {}
        if op in ("Elu", "Celu", "ThresholdedRelu", "LeakyRelu"):
            attributes["alpha"] = c.rng.uniform(0.1, 1.5)
        if op == "Gelu" and c.rng.random() < 0.5:
            attributes["approximate"] = "tanh"
        if x.dtype == np.float64 and op in ("Celu", "Selu", "Gelu", "ThresholdedRelu", "HardSigmoid", "IsInf", "Erf", "Shrink"):
            x = x.astype(np.float32)
        if op in ("Softplus", "Softsign", "Mish", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Tan", "Asin", "Acos"):
            x = x.astype(np.float32)
        c.node(op, [c.input(x)], **attributes)
    for op, kinds in (("Abs", INTS), ("Neg", [np.int32, np.int64, np.int8]), ("Sign", INTS), ("Not", [np.bool_]),
                      ("BitwiseNot", INTS)):
        c.node(op, [c.input(c.array(c.shape(), c.rng.choice(kinds), -100, 100))])


def limits(c):
    """Where exponentials vanish, erf is 1, logarithms meet denormals, and sines go around many times: the ends of their
    expansions."""
    low = np.float32([-np.inf, -1000, -104, -88, -87.34, -87.33, -20, -1, -1e-30, -1e-40, -0.0, 0] * 3)
    high = np.float32([88.8, 90, 129, 300, 1e30, np.inf, np.nan] * 5)
    small = np.float32([1e-45, 1e-42, 1e-40, 1.17e-38, 1.18e-38, -1e-40, 0, -0.0, 0.5, 0.7071, 1, 1.4143, 3e38, np.inf, np.nan] * 2)
    turns = np.float32([0, 0.785, 0.786, 3.14159, -4.7124, 100, -12345.678, 99999, 100001, 1e10, -3e38] * 2)
    wild = np.float32([np.inf, -np.inf, np.nan, 1, 2e5] * 5)
    near = np.float32([-4, -3.93, -3.92, -3.91, -1, 0, 1e-40, 1e-30, 1, 3.91, 3.92, 3.93, 4, 1e30] * 2)
    for op, x in (("Exp", low), ("Exp", high), ("Softmax", low), ("Sigmoid", low), ("Sigmoid", high), ("Tanh", high),
                  ("Erf", low), ("Erf", high), ("Erf", near), ("Log", small),
                  ("Sin", turns), ("Cos", turns), ("Sin", turns[:7]), ("Cos", np.resize(turns[:7], 35)), ("Sin", wild)):
        c.node(op, [c.input(c.data.permutation(x))])


def broadcast_shapes(c, count):
    full = c.shape(0, 4)
    shapes = []
    for _ in range(count):
        shape = [1 if c.rng.random() < 0.3 else d for d in full]
        shapes.append(shape[c.rng.randint(0, len(shape)) if c.rng.random() < 0.3 else 0:])
    return shapes


def binary(c):
    for _ in range(4):
        op = c.rng.choice(["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "PRelu", "Mod"])
        a, b = broadcast_shapes(c, 2)
        dtype = c.rng.choice(FLOATS[:4])
        x, y = c.array(a, dtype), c.array(b, dtype)
        attributes = {"fmod": 1} if op == "Mod" else {}
        if op in ("Div", "Mod"):
            y = np.where(np.abs(y) < 0.5, dtype(1), y)
        if op == "Mod":
            x, y = x.astype(np.float32), y.astype(np.float32)
        if op == "Pow":
            x = np.abs(x).astype(dtype) + dtype(0.1)
        if op == "PRelu":  # broadcasts one way only
            b = [1 if c.rng.random() < 0.3 else d for d in a]
            y = c.array(b, dtype)
        c.node(op, [c.operand(x), c.operand(y)], **attributes)
    for _ in range(3):
        op = c.rng.choice(["Add", "Sub", "Mul", "Div", "Mod", "Min", "Max"])
        dtype = c.rng.choice([np.int32, np.int64])
        a, b = broadcast_shapes(c, 2)
        y = c.array(b, dtype, 1, 9) if op in ("Div", "Mod") else c.array(b, dtype, -9, 9)
        x = c.array(a, dtype, 0 if op == "Div" else -100, 100)
        c.node(op, [c.operand(x), c.operand(y)])
    for op in c.rng.sample(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"], 2):
        dtype = c.rng.choice([np.float32, np.float64, np.int32, np.int64])
        a, b = broadcast_shapes(c, 2)
        c.node(op, [c.operand(c.array(a, dtype, -2, 2)), c.operand(c.array(b, dtype, -2, 2))])
    for op in c.rng.sample(["And", "Or", "Xor"], 1):
        a, b = broadcast_shapes(c, 2)
        c.node(op, [c.operand(c.array(a, np.bool_)), c.operand(c.array(b, np.bool_))])
    for op in c.rng.sample(["BitwiseAnd", "BitwiseOr", "BitwiseXor"], 1):
        a, b = broadcast_shapes(c, 2)
        dtype = c.rng.choice(INTS)
        c.node(op, [c.operand(c.array(a, dtype, 0, 100)), c.operand(c.array(b, dtype, 0, 100))])
    s, a, b = broadcast_shapes(c, 3)
    dtype = c.rng.choice([np.float32, np.int64, np.uint8, np.float64])
    c.node("Where", [c.operand(c.array(s, np.bool_)), c.operand(c.array(a, dtype)), c.operand(c.array(b, dtype))])
    dtype = c.rng.choice([np.float32, np.float64, np.int32, np.int8, np.uint8])
    low, high = sorted([c.array([], dtype), c.array([], dtype)])
    c.node("Clip", [c.input(c.array(c.shape(), dtype, -9, 9)), c.operand(low), c.operand(high)])


def casts(c):
    for _ in range(10):
        source = c.rng.choice(FLOATS + INTS + [np.bool_])
        target = c.rng.choice(FLOATS + INTS + [np.bool_])
        # What is out of range of the target differs among machines.
        low = 0 if np.dtype(target).kind == "u" else -50
        x = c.array(c.shape(), source, low, 50)
        c.node("Cast", [c.input(x)], to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def reductions(c):
    for _ in range(8):
        op = c.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                           "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"])
        shape = c.shape(1, 5, 24)
        while np.prod(shape) > 60000:
            shape = c.shape(1, 5, 24)
        if op not in ("ReduceSum", "ReduceProd"):
            shape = [max(1, d) for d in shape]
        low, high = (0.1, 3) if op == "ReduceLogSum" else (0.9, 1.1) if op == "ReduceProd" else (-4, 4)
        dtype = c.rng.choice([np.float32, np.float32, np.float32, np.int32, np.float64])
        if dtype == np.int32 and op not in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1"):
            dtype = np.float32
        inputs = [c.input(c.array(shape, dtype, low, high))]
        axes = c.rng.sample(range(len(shape)), c.rng.randint(0, len(shape)))
        if axes:
            axes = np.array([a - len(shape) if c.rng.random() < 0.3 else a for a in axes], np.int64)
            # Axes that are data must leave the rank alone.
            inputs.append(c.fixed_input(axes) if c.rng.random() < 0.15 else c.constant(axes))
        keep = 1 if len(inputs) > 1 and inputs[1] in c.inputs else c.rng.randint(0, 1)
        c.node(op, inputs, keepdims=keep, tolerance=1e-4 if op == "ReduceProd" else None)
    shape = [c.size() for _ in range(3)]
    for dtype in (np.int8, np.uint8, np.int64):
        c.node(c.rng.choice(["ReduceMax", "ReduceMin"]),
               [c.input(c.array(shape, dtype, -100, 100)), c.constant(np.array([c.rng.randrange(3)], np.int64))])


def softmaxes(c):
    for _ in range(6):
        shape = [max(1, d) for d in c.shape(1, 4)]
        dtype = c.rng.choice([np.float32, np.float32, np.float64, np.float16])
        x = c.array(shape, dtype, -9, 9)
        if c.rng.random() < 0.2 and dtype == np.float32:
            x[..., c.rng.randrange(shape[-1])] = -np.inf
        c.node(c.rng.choice(["Softmax", "LogSoftmax"]), [c.input(x)], axis=c.rng.randint(-len(shape), len(shape) - 1))


def normalizations(c):
    for _ in range(3):
        shape = [max(1, d) for d in c.shape(1, 4)]
        axis = c.rng.randrange(len(shape))
        dtype = c.rng.choice([np.float32, np.float32, np.float16])
        scale = [1 if c.rng.random() < 0.1 else d for d in shape[axis:]]
        inputs = [c.input(c.array(shape, dtype)), c.operand(c.array(scale, dtype))]
        if c.rng.random() < 0.8:
            inputs.append(c.operand(c.array(scale, dtype)))
        # Values that are nearly equal lose digits in x - mean; a small epsilon would blow that up.
        c.node("LayerNormalization", inputs, axis=axis - c.rng.choice([0, len(shape)]), epsilon=1e-2)
    channels, positions = c.size(), [c.size(12) for _ in range(c.rng.randint(1, 3))]
    x = c.array([c.rng.randint(1, 3), channels] + positions, np.float32)
    # The number of channels must be known.
    c.node("InstanceNormalization", [c.fixed_input(x), c.operand(c.array([channels], np.float32)),
                                     c.operand(c.array([channels], np.float32))], epsilon=1e-2)
    shape = [c.rng.randint(1, 3), c.size()] + [c.size(12) for _ in range(c.rng.randint(0, 3))]
    inputs = [c.input(c.array(shape, np.float32))] + [
        c.operand(c.array([shape[1]], np.float32, low, 4)) for low in (-4, -4, -4, 0.1)]
    c.node("BatchNormalization", inputs)
    shape = [max(1, d) for d in c.shape(1, 4)]
    c.node("LpNormalization", [c.input(c.array(shape, np.float32))], axis=c.rng.randint(-len(shape), len(shape) - 1),
           p=c.rng.randint(1, 2))
    c.node("LRN", [c.input(c.array([c.rng.randint(1, 2), c.size(), c.size(12), c.size(12)], np.float32))],
           size=c.rng.choice([1, 3, 5, 7]), alpha=c.rng.uniform(1e-4, 0.5), beta=c.rng.choice([0.5, 0.75, 1.0, 0.6]))


def pools(c):
    for _ in range(5):
        rank = c.rng.randint(1, 3)
        kernel = [c.rng.randint(1, 4) for _ in range(rank)]
        dilations = [c.rng.randint(1, 2) for _ in range(rank)]
        strides = [c.rng.randint(1, 3) for _ in range(rank)]
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        spatial = [e + c.rng.randint(0, 9) for e in extent]
        pads = [c.rng.randint(0, k // 2) if c.rng.random() < 0.6 else 0 for k in kernel * 2]
        shape = [c.rng.randint(1, 2), c.size()] + spatial
        attributes = dict(kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations,
                          ceil_mode=c.rng.choice([0, 0, 1]))
        if c.rng.random() < 0.5:
            if c.rng.random() < 0.7:
                attributes.pop("dilations")
            attributes["count_include_pad"] = 0 if attributes["ceil_mode"] else c.rng.randint(0, 1)
            c.node("AveragePool", [c.input(c.array(shape, np.float32))], **attributes)
        else:
            dtype = c.rng.choice([np.float32, np.float32, np.uint8, np.int8])
            indices = 2 if c.rng.random() < 0.3 and dtype == np.float32 else 1
            if indices == 2 and rank == 2:
                attributes["storage_order"] = c.rng.randint(0, 1)
            c.node("MaxPool", [c.input(c.array(shape, dtype, -100, 100))], indices, **attributes)
    c.node("GlobalAveragePool", [c.input(c.array([2, c.size(), c.size(), c.size()], np.float32))])
    c.node("GlobalMaxPool", [c.input(c.array([2, c.size(), c.size(), c.size()], np.float32))])


def transposes(c):
    for _ in range(8):
        shape = c.shape(1, 5, 48)
        while np.prod(shape) > 100000:
            shape = c.shape(1, 5, 48)
        dtype = c.rng.choice([np.float32, np.float32, np.float16, np.int8, np.int64, np.bool_])
        perm = list(range(len(shape)))
        c.rng.shuffle(perm)
        c.node("Transpose", [c.input(c.array(shape, dtype))], perm=perm)
    b = c.rng.randint(2, 3)
    c.node("DepthToSpace", [c.input(c.array([c.rng.randint(1, 2), c.size(8) * b * b, c.size(9), c.size(9)], np.float32))],
           blocksize=b, mode=c.rng.choice(["DCR", "CRD"]))
    c.node("SpaceToDepth", [c.input(c.array([c.rng.randint(1, 2), c.size(8), c.size(9) * b, c.size(9) * b], np.float32))],
           blocksize=b)


def gathers(c):
    for _ in range(4):
        shape = [max(1, d) for d in c.shape(1, 4, 60)]
        axis = c.rng.randrange(len(shape))
        index = c.array(c.shape(0, 2, 20), c.rng.choice([np.int32, np.int64]), -shape[axis], shape[axis] - 1)
        dtype = c.rng.choice([np.float32, np.int64, np.uint8, np.bool_, np.float16])
        c.node("Gather", [c.operand(c.array(shape, dtype)), c.operand(index)], axis=axis - c.rng.choice([0, len(shape)]))
    shape = [max(1, d) for d in c.shape(1, 3, 20)]
    axis = c.rng.randrange(len(shape))
    index_shape = [d if i == axis else c.rng.randint(1, d) for i, d in enumerate(shape)]
    index = c.array(index_shape, np.int64, -shape[axis], shape[axis] - 1)
    c.node("GatherElements", [c.input(c.array(shape, np.float32)), c.input(index)], axis=axis)
    shape = [max(1, d) for d in c.shape(2, 4, 12)]
    batch = c.rng.randint(0, len(shape) - 2)
    depth = c.rng.randint(1, len(shape) - batch)
    outer = shape[:batch] + [c.rng.randint(1, 5) for _ in range(c.rng.randint(0, 2))]
    index = np.stack([c.array(outer, np.int64, -shape[batch + i], shape[batch + i] - 1) for i in range(depth)], -1)
    if index.ndim > batch:
        c.node("GatherND", [c.input(c.array(shape, np.float32)), c.constant(index)], batch_dims=batch)


def slices(c):
    for _ in range(5):
        shape = c.shape(1, 4)
        count = c.rng.randint(1, len(shape))
        axes = c.rng.sample(range(len(shape)), count)
        steps = [c.rng.choice([1, 1, 1, 2, 3, -1, -2]) for _ in axes]
        starts = [c.rng.randint(-shape[a] - 2, shape[a] + 2) for a in axes]
        ends = [c.rng.choice([c.rng.randint(-shape[a] - 2, shape[a] + 2), 1 << 40, -(1 << 40)]) for a in axes]
        make = c.fixed_input if c.rng.random() < 0.25 else c.constant
        values = [make(np.array(v, np.int64)) for v in (starts, ends)]
        values += [c.constant(np.array(v, np.int64)) for v in (axes, steps)]
        dtype = c.rng.choice([np.float32, np.int64, np.int8])
        c.node("Slice", [c.input(c.array(shape, dtype))] + values)
    shape = [max(1, d) for d in c.shape(1, 4)]
    axis = c.rng.randrange(len(shape))
    parts, rest = [], shape[axis]
    while rest:
        parts.append(c.rng.randint(1, rest))
        rest -= parts[-1]
    c.node("Split", [c.input(c.array(shape, np.float32)), c.constant(np.array(parts, np.int64))], len(parts), axis=axis)
    for _ in range(3):
        shape = c.shape(1, 4)
        axis = c.rng.randrange(len(shape))
        parts = []
        for _ in range(c.rng.randint(1, 5)):
            shape[axis] = c.size()
            parts.append(c.operand(c.array(shape, np.float32)))
        c.node("Concat", parts, axis=axis - c.rng.choice([0, len(shape)]))


def pads(c):
    for _ in range(6):
        shape = [max(2, d) for d in c.shape(1, 4, 24)]
        mode = c.rng.choice(["constant", "reflect", "edge", "wrap"])
        if mode == "constant":
            before = [c.rng.randint(-1, 5) if c.rng.random() < 0.6 else 0 for _ in shape * 2]
        else:
            before = [c.rng.randint(0, d - 1) if c.rng.random() < 0.6 else 0 for d in shape * 2]
        dtype = c.rng.choice([np.float32, np.float32, np.int64, np.int8])
        make = c.fixed_input if c.rng.random() < 0.2 else c.constant
        inputs = [c.input(c.array(shape, dtype)), make(np.array(before, np.int64))]
        if mode == "constant" and c.rng.random() < 0.6:
            inputs.append(c.operand(c.array([], dtype)))
        c.node("Pad", inputs, mode=mode)
    for _ in range(2):
        shape = c.shape(1, 4, 12)
        repeats = np.array([c.rng.choice([1, 1, 2, 3]) for _ in shape], np.int64)
        make = c.fixed_input if c.rng.random() < 0.2 else c.constant
        c.node("Tile", [c.input(c.array(shape, np.float32)), make(repeats)])
    for _ in range(2):
        shape = c.shape(0, 4, 12)
        wanted = [c.rng.randint(1, 4) if d == 1 else c.rng.choice([1, d]) for d in shape]
        wanted = [c.rng.randint(1, 3) for _ in range(c.rng.randint(0, 2))] + wanted
        make = c.fixed_input if c.rng.random() < 0.2 else c.constant
        if wanted:
            c.node("Expand", [c.input(c.array(shape, np.float32)), make(np.array(wanted, np.int64))])


def shapes(c):
    c.node("Shape", [c.input(c.array(c.shape(), np.float32))])
    c.node("Size", [c.input(c.array(c.shape(), np.float32))])
    for dtype in (np.float32, np.int64, np.int32):
        start, delta = c.array([], dtype, -9, 9), dtype(c.rng.choice([1, 2, -3]))
        limit = dtype(start + delta * c.rng.randint(-2, 30))
        make = c.fixed_input if c.rng.random() < 0.5 else c.constant
        c.node("Range", [make(np.array(v, dtype)) for v in (start, limit, delta)])
    value = numpy_helper.from_array(c.array([1], c.rng.choice([np.float32, np.int64, np.uint8, np.bool_])))
    make = c.fixed_input if c.rng.random() < 0.3 else c.constant
    c.node("ConstantOfShape", [make(np.array(c.shape(1, 3), np.int64))], value=value)


def channels_last(c):
    channels = c.rng.choice([4, 6, 16, 24, 64, 100, 160])
    spatial = [c.rng.randint(3, 11) for _ in range(c.rng.choice([1, 2, 2, 3]))]
    rank = len(spatial)

    def vector(size, low=-2, high=2):
        return c.constant(c.array([size], np.float32, low, high))

    kernel = [c.rng.randint(1, min(4, d)) for d in spatial]
    attributes = dict(kernel_shape=kernel, strides=[c.rng.randint(1, 2) for _ in kernel],
                      pads=[k // 2 if c.rng.random() < 0.5 else 0 for k in kernel] * 2)
    c.between_convolutions(channels, spatial, "MaxPool", [], 1e-5, ceil_mode=c.rng.randint(0, 1), **attributes)
    c.between_convolutions(channels, spatial, "AveragePool", [], 1e-5, count_include_pad=c.rng.randint(0, 1), **attributes)
    c.between_convolutions(channels, spatial, "InstanceNormalization", [vector(channels), vector(channels)], 2e-4,
                           epsilon=1e-2)
    group = c.rng.choice([d for d in range(1, channels + 1) if channels % d == 0])
    c.between_convolutions(channels, spatial, "GroupNormalization", [vector(group), vector(group)], 2e-4,
                           num_groups=group, epsilon=1e-2)
    # The first convolution would take a normalization alone into its weights.
    c.between_convolutions(channels, spatial, "Sigmoid", [], 1e-5)
    c.between_convolutions(channels, spatial, "LeakyRelu", [], 1e-5, alpha=0.1)
    axes = c.constant(np.array(range(2, rank + 2), np.int64))
    c.between_convolutions(channels, spatial, "ReduceMean", [axes], 1e-5, keepdims=1)


FAMILIES = {f.__name__: f for f in (unary, limits, binary, casts, reductions, softmaxes, normalizations, pools, transposes,
                                    gathers, slices, pads, shapes, channels_last)}


# --------------------------------------------------------------------- expected values
def expected(c, nodes, outputs):
    """Results of one case by onnxruntime or, where it has no kernel, the reference evaluator."""
    model = c.model(None, [(nodes, outputs)])
    feeds = {i: c.inputs[i] for n in nodes for i in n.input if i in c.inputs}
    try:
        import onnxruntime as ort
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception:
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(model).run(None, feeds)


def describe(c, nodes):
    node = nodes[len(nodes) // 2]
    values = {**c.inputs, **{t.name: numpy_helper.to_array(t) for t in c.constants}}
    operands = ", ".join(f"{values[i].dtype}{list(values[i].shape)}{'' if i in c.inputs else ' constant'}"
                         + (f"={values[i].tolist()}" if values[i].size <= 8 and values[i].dtype.kind == "i" else "")
                         for i in node.input if i in values)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type != onnx.AttributeProto.TENSOR}
    return f"{node.op_type}({operands}) {attributes}"


# --------------------------------------------------------------------- running
class Runner:
    def __init__(self, folder, target, verbose):
        self.folder, self.target, self.verbose = folder, target, verbose
        self.passed = self.failed = 0

    def fail(self, where, text):
        self.failed += 1
        print(f"FAIL {where}: {text}", flush=True)

    def compile_and_run(self, c, nodes, level, dynamic):
        path, artifact = os.path.join(self.folder, "m.onnx"), os.path.join(self.folder, "m.so")
        onnx.save(c.model(dynamic, nodes), path)
        flags = [f"--opt={level}", "--quiet"] + ([f"--target={self.target}"] if self.target else [])
        nnopt.compile(path, artifact, flags)
        results = {}
        for threads in (1, 3):
            with nnopt.Session(artifact, threads) as session:
                feeds = {i.name: c.inputs[i.name] for i in session.get_inputs()}
                names = [o.name for o in session.get_outputs()]
                results[threads] = dict(zip(names, session.run(None, feeds)))
        return results

    def check(self, where, c, nodes, level, dynamic, want):
        try:
            results = self.compile_and_run(c, nodes, level, dynamic)
        except (nnopt.CompileError, RuntimeError) as e:
            if len(nodes) == 1:
                self.fail(where, f"{describe(c, nodes[0][0])}: {e}")
            else:  # which one is it?
                for n in nodes:
                    self.check(where, c, [n], level, dynamic, want)
            return
        for threads, values in results.items():
            for group, outputs in nodes:
                for name in outputs:
                    got, w = values[name], want[name]
                    error = nnopt.difference(got, w)
                    limit = c.tolerance.get(name) or TOLERANCE.get(w.dtype, 0)
                    if error > limit:
                        self.fail(f"{where} threads {threads}", f"{describe(c, group)}: {got.dtype}{list(got.shape)}, "
                                  f"expected {w.dtype}{list(w.shape)}, error {error:.2g}")
                        break
                else:
                    self.passed += 1

    def round(self, family, seed):
        rng = random.Random(f"{family} {seed}")
        c = Cases(rng)
        FAMILIES[family](c)
        want = {}
        for group, outputs in c.nodes:
            want.update(zip(outputs, (np.asarray(v) for v in expected(c, group, outputs))))
        for level in ("0", "2"):
            for dynamic in (None, rng.choice(["symbols", "names"])):
                where = f"{family} seed {seed} --opt={level} {dynamic or 'fixed'}"
                if self.verbose:
                    print(where, flush=True)
                self.check(where, c, c.nodes, level, dynamic, want)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--target")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    families = options.only.split(",") if options.only else list(FAMILIES)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(folder, options.target, options.v)
        for seed in range(options.seed, options.seed + options.rounds):
            for family in families:
                runner.round(family, seed)
    print(f"{runner.passed} passed, {runner.failed} failed")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
