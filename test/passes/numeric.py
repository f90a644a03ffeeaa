#!/usr/bin/env python3
"""Random small models through the exact passes: the default artifact against --opt=0.

    numeric.py [--seed=N] [--count=N] [--only=KIND] [--keep=DIR]

Each case is a random ONNX graph that tempts the passes (convolutions with batch normalization, other users of
values that could be folded away, residuals, layouts, constants, shape arithmetic, activations and
normalizations written out, branches and chains that merge), with fixed or dynamic dimensions. It is compiled by default and with --opt=0,
which applies no rewriting and runs plain loops; all outputs are compared. The largest difference relative to
an output's scale may be 1e-5, 1e-12 for f64 models. Ends with `N passed, N failed`.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import branches  # noqa: E402
import nnopt  # noqa: E402

TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE, np.int64: TensorProto.INT64,
         np.bool_: TensorProto.BOOL}


class Graph:
    """A model under construction. Values are names; `shapes` has the shape of each for the fed sizes."""

    def __init__(self, rng, dtype):
        self.rng, self.dtype = rng, dtype
        self.data = np.random.default_rng(rng.randrange(1 << 30))
        self.nodes, self.inputs, self.constants, self.feeds = [], [], [], {}
        self.shapes, self.used = {}, set()
        self.count = 0

    def name(self, prefix="v"):
        self.count += 1
        return f"{prefix}{self.count}"

    def input(self, shape, symbols):
        """A graph input; `symbols` names its dynamic dimensions (None: fixed)."""
        name = self.name("x")
        self.feeds[name] = self.data.standard_normal(shape).astype(self.dtype)
        dims = [s or d for s, d in zip(symbols, shape)]
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[self.dtype], dims))
        self.shapes[name] = tuple(shape)
        return name

    def const(self, array):
        array = np.asarray(array)
        if array.dtype == np.float64 and self.dtype == np.float32:
            array = array.astype(np.float32)
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(array, name))
        self.shapes[name] = array.shape
        return name

    def number(self, value):
        return self.const(np.array(value, self.dtype))

    def normal(self, shape, scale=1.0):
        return self.const((self.data.standard_normal(shape) * scale).astype(self.dtype))

    def ints(self, values):
        return self.const(np.array(values, np.int64))

    def add(self, op, inputs, shape, **attributes):
        """A node with one output of the given shape."""
        out = self.name()
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"{op}_{out}", **attributes))
        self.used.update(inputs)
        self.shapes[out] = tuple(shape)
        return out

    def model(self, extra_outputs):
        produced = [o for n in self.nodes for o in n.output if o]
        leaves = [p for p in produced if p not in self.used]
        outputs = list(dict.fromkeys(leaves + extra_outputs))
        infos = [onnx.ValueInfoProto(name=o) for o in outputs]
        graph = helper.make_graph(self.nodes, "numeric", self.inputs, infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        # The checker wants output types, which shape inference gives to inner values.
        known = {v.name: v for v in list(model.graph.value_info) + list(model.graph.output)}
        del model.graph.output[:]
        for o in outputs:
            info = model.graph.output.add()
            info.CopyFrom(known[o])
            if not info.type.tensor_type.HasField("shape"):  # Inference does not see through loops.
                for _ in self.shapes[o]:
                    info.type.tensor_type.shape.dim.add()
        return model


# --------------------------------------------------------------------- convolutional nets
class Cnn:
    """Steps of a random convolutional net over values [N, C, spatial...]."""

    def __init__(self, graph):
        self.g, self.rng = graph, graph.rng
        self.spatial = self.rng.choice([2, 2, 2, 1, 3]) if self.rng.random() < 0.5 else 2
        n, c = self.rng.choice([1, 2]), self.rng.choice([1, 2, 3, 4, 8])
        size = {1: (14,), 2: (8, 10), 3: (4, 5, 6)}[self.spatial]
        dynamic = self.rng.random() < 0.4
        names = (["n"] if dynamic else [None]) + [None] + \
            ([f"s{i}" if dynamic and self.rng.random() < 0.5 else None for i in range(self.spatial)])
        self.dynamic_space = any(names[2:])
        self.values = [graph.input((n, c) + size, names)]

    def pick(self):
        """A value, mostly a recent one."""
        values = self.values
        return values[-1] if self.rng.random() < 0.7 else self.rng.choice(values)

    def shape(self, v):
        return self.g.shapes[v]

    def keep(self, v):
        if len(self.shape(v)) == self.spatial + 2 and np.prod(self.shape(v)) > 0:
            self.values.append(v)
        return v

    def conv(self):
        g, rng, x = self.g, self.rng, self.pick()
        n, c, *space = self.shape(x)
        group = rng.choice([1, 1, c, 2 if c % 2 == 0 else 1])
        m = group * rng.choice([1, 2, 3])
        kernel = [rng.choice([1, 1, 3, 2]) for _ in space]
        dilations = [rng.choice([1, 1, 2]) for _ in space]
        strides = [rng.choice([1, 1, 2]) for _ in space]
        pads = [rng.choice([0, 1, (k - 1) * d // 2]) for k, d in zip(kernel * 2, dilations * 2)]
        out = [(s + pads[i] + pads[i + len(space)] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
               for i, s in enumerate(space)]
        if min(out) < 1:
            return x
        w = g.normal([m, c // group] + kernel, 1 / np.sqrt(c // group * np.prod(kernel)))
        inputs = [x, w] + ([g.normal([m])] if rng.random() < 0.4 else [])
        y = self.keep(g.add("Conv", inputs, [n, m] + out, kernel_shape=kernel, strides=strides, pads=pads,
                            dilations=dilations, group=group))
        return self.after(y)

    def conv_transpose(self):
        g, rng, x = self.g, self.rng, self.pick()
        n, c, *space = self.shape(x)
        if np.prod(space) > 200:
            return x
        group = rng.choice([1, c])
        per_group = rng.choice([1, 2])
        kernel = [rng.choice([1, 2, 3]) for _ in space]
        strides = [rng.choice([1, 2]) for _ in space]
        out = [(s - 1) * st + k for s, st, k in zip(space, strides, kernel)]
        w = g.normal([c, per_group] + kernel, 1 / np.sqrt(c * np.prod(kernel)))
        y = self.keep(g.add("ConvTranspose", [x, w], [n, group * per_group] + out, kernel_shape=kernel,
                            strides=strides, group=group))
        return self.after(y)

    def after(self, y):
        """What usually follows a convolution, and what makes a pass think twice."""
        rng = self.rng
        for _ in range(rng.choice([0, 1, 2, 3])):
            y = rng.choice([self.batch_norm, self.activation, self.affine])(y)
        return y

    def batch_norm(self, x=None):
        g, x = self.g, x or self.pick()
        c = self.shape(x)[1]
        variance = g.const((g.data.random(c) + 0.5).astype(g.dtype))
        return self.keep(g.add("BatchNormalization", [x, g.normal([c]), g.normal([c]), g.normal([c]), variance],
                               self.shape(x), epsilon=1e-3))

    def activation(self, x=None):
        g, rng, x = self.g, self.rng, x or self.pick()
        shape = self.shape(x)
        kind = rng.choice(["Relu", "Sigmoid", "Tanh", "Clip", "silu", "hswish", "gelu", "LeakyRelu"])
        if kind == "Clip":
            y = g.add("Clip", [x, g.number(0), g.number(6)], shape)
        elif kind == "silu":
            y = g.add("Mul", [x, g.add("Sigmoid", [x], shape)], shape)
        elif kind == "hswish":
            a = g.add("Clip", [g.add("Add", [x, g.number(3)], shape), g.number(0), g.number(6)], shape)
            y = g.add("Div", [g.add("Mul", [x, a], shape), g.number(6)], shape)
        elif kind == "gelu":
            e = g.add("Erf", [g.add("Div", [x, g.number(np.sqrt(2))], shape)], shape)
            y = g.add("Mul", [x, g.add("Add", [e, g.number(1)], shape)], shape)
            y = g.add("Mul", [y, g.number(0.5)], shape)
        elif kind == "LeakyRelu":
            y = g.add(kind, [x], shape, alpha=0.1)
        else:
            y = g.add(kind, [x], shape)
        return self.keep(y)

    def affine(self, x=None):
        """Scale or shift by a constant: per channel, per position, a number, or of full size."""
        g, rng, x = self.g, self.rng, x or self.pick()
        shape = self.shape(x)
        ones = [1] * self.spatial
        shapes = [[], [1], [shape[1]] + ones, [1, shape[1]] + ones, [1] + [1] + ones]
        if not self.dynamic_space:
            shapes.append([shape[-1]])
        c = g.normal(rng.choice(shapes))
        op = rng.choice(["Add", "Mul", "Sub"])
        return self.keep(g.add(op, [x, c] if rng.random() < 0.7 else [c, x], shape))

    def residual(self):
        g = self.g
        x = self.pick()
        others = [v for v in self.values if self.shape(v) == self.shape(x)]
        return self.keep(g.add(self.rng.choice(["Add", "Mul", "Add"]), [x, self.rng.choice(others)], self.shape(x)))

    def squeeze_excite(self):
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        ones = [1] * self.spatial
        m = g.add("GlobalAveragePool", [x], [n, c] + ones)
        w = g.normal([c, c] + ones, 1 / np.sqrt(c))
        s = g.add("Sigmoid", [g.add("Conv", [m, w], [n, c] + ones)], [n, c] + ones)
        return self.keep(g.add("Mul", [x, s], self.shape(x)))

    def concat(self):
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        others = [v for v in self.values if self.shape(v)[0] == n and list(self.shape(v)[2:]) == space]
        y = self.rng.choice(others)
        return self.keep(g.add("Concat", [x, y], [n, c + self.shape(y)[1]] + space, axis=1))

    def slice(self):
        g, rng, x = self.g, self.rng, self.pick()
        shape = list(self.shape(x))
        axis = rng.choice([1, 1, len(shape) - 1])
        if shape[axis] < 2:
            return x
        start, step = rng.randrange(shape[axis] - 1), rng.choice([1, 1, 2])
        y_shape = list(shape)
        y_shape[axis] = -(-(shape[axis] - start) // step)
        return self.keep(g.add("Slice", [x, g.ints([start]), g.ints([1 << 40]), g.ints([axis]), g.ints([step])],
                               y_shape))

    def pool(self):
        g, rng, x = self.g, self.rng, self.pick()
        n, c, *space = self.shape(x)
        if min(space) < 2:
            return x
        kernel, strides = [2] * self.spatial, [rng.choice([1, 2])] * self.spatial
        pads = [rng.choice([0, 1])] * self.spatial + [0] * self.spatial
        out = [(s + p - 2) // t + 1 for s, p, t in zip(space, pads, strides)]
        op = rng.choice(["MaxPool", "AveragePool"])
        more = {"count_include_pad": rng.choice([0, 1])} if op == "AveragePool" else {}
        return self.keep(g.add(op, [x], [n, c] + out, kernel_shape=kernel, strides=strides, pads=pads, **more))

    def pad(self):
        g, rng, x = self.g, self.rng, self.pick()
        n, c, *space = self.shape(x)
        before, after = [[rng.choice([0, 1]) for _ in space] for _ in range(2)]
        out = [s + a + b for s, a, b in zip(space, before, after)]
        return self.keep(g.add("Pad", [x, g.ints([0, 0] + before + [0, 0] + after), g.number(rng.choice([0, 1]))],
                               [n, c] + out))

    def resize(self):
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        if np.prod(space) > 100 or self.spatial != 2:
            return x
        scales = g.const(np.array([1, 1] + [2] * self.spatial, np.float32))
        mode = self.rng.choice(["nearest", "linear"])
        more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
        return self.keep(g.add("Resize", [x, "", scales], [n, c] + [2 * s for s in space], mode=mode, **more))

    def softmax(self):
        x = self.pick()
        return self.keep(self.g.add("Softmax", [x], self.shape(x), axis=self.rng.choice([1, -1])))

    def reduce(self):
        """A branch that ends: means over positions or channels."""
        g, rng, x = self.g, self.rng, self.pick()
        shape = list(self.shape(x))
        axes = rng.choice([list(range(2, len(shape))), [1], [len(shape) - 1]])
        keep = rng.choice([0, 1])
        out = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
        y = g.add(rng.choice(["ReduceMean", "ReduceMax"]), [x], out, axes=axes, keepdims=keep)
        if keep:
            y = self.keep(g.add("Mul", [x, y], shape))
        return y

    def channels_last_island(self):
        """Transposes of the model: a matrix product over channels, as ConvNeXt has it."""
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        last = [0] + list(range(2, self.spatial + 2)) + [1]
        first = [0, self.spatial + 1] + list(range(1, self.spatial + 1))
        y = g.add("Transpose", [x], [n] + space + [c], perm=last)
        y = g.add("MatMul", [y, g.normal([c, c], 1 / np.sqrt(c))], [n] + space + [c])
        y = g.add("Add", [y, g.normal([c])], [n] + space + [c])
        return self.keep(g.add("Transpose", [y], [n, c] + space, perm=first))

    def tokens(self):
        """Positions as a sequence, as ViT has it: ends the branch."""
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        if self.dynamic_space:
            return x
        t = int(np.prod(space))
        y = g.add("Reshape", [x, g.ints([0, c, -1])], [n, c, t])
        y = g.add("Transpose", [y], [n, t, c], perm=[0, 2, 1])
        return g.add("MatMul", [y, g.normal([c, 4], 1 / np.sqrt(c))], [n, t, 4])

    def classifier(self):
        g, x = self.g, self.pick()
        n, c, *space = self.shape(x)
        y = g.add("GlobalAveragePool", [x], [n, c] + [1] * self.spatial)
        y = g.add("Flatten", [y], [n, c])
        return g.add("Gemm", [y, g.normal([5, c], 1 / np.sqrt(c)), g.normal([5])], [n, 5], transB=1)

    def build(self):
        steps = [self.conv] * 6 + [self.batch_norm, self.activation, self.affine, self.residual, self.residual,
                                   self.squeeze_excite, self.concat, self.slice, self.pool, self.pad, self.resize,
                                   self.softmax, self.reduce, self.channels_last_island, self.conv_transpose,
                                   self.tokens, self.classifier]
        for _ in range(self.rng.randrange(4, 14)):
            self.rng.choice(steps)()
        extra = [v for v in self.values[1:] if self.rng.random() < 0.1]
        return self.g.model(extra)


# --------------------------------------------------------------------- elementwise graphs
def build_elementwise(g):
    """Broadcasting, numbers, comparisons, casts, several users."""
    rng = g.rng
    n, t, d = 3, 4, 5
    symbols = ["n", "t", None] if rng.random() < 0.5 else [None] * 3
    floats = [g.input((n, t, d), symbols), g.input((t, d), symbols[1:]), g.input((1, t, 1), [None, symbols[1], None])]
    floats += [g.normal([d]), g.number(0.5), g.normal([1, 1, d])]

    def broadcast(*names):
        return np.broadcast_shapes(*[g.shapes[x] for x in names])

    for _ in range(rng.randrange(4, 16)):
        kind = rng.randrange(5)
        a, b, c = (rng.choice(floats[-5:] if rng.random() < 0.6 else floats) for _ in range(3))
        if kind == 0:
            y = g.add(rng.choice(["Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Erf", "Softplus"]), [a], g.shapes[a])
        elif kind == 1 and broadcast(a, b, c) == broadcast(a, c):
            # Never the same value on both sides, which rounding may order either way.
            mask = g.add(rng.choice(["Less", "Greater"]), [a, g.add("Add", [b, g.number(0.37)], g.shapes[b])],
                         broadcast(a, b))
            if rng.random() < 0.5:
                mask = g.add("Not", [mask], g.shapes[mask])
            y = g.add("Where", [mask, a, c], broadcast(a, b, c))
        elif kind == 2:
            # Off the integers, where a rounding error would change the truncated value.
            i = g.add("Add", [g.add("Clip", [a, g.number(-9), g.number(9)], g.shapes[a]), g.number(0.37)], g.shapes[a])
            i = g.add("Cast", [i], g.shapes[a], to=TensorProto.INT64)
            y = g.add("Cast", [g.add("Mul", [i, i], g.shapes[a])], g.shapes[a], to=TYPES[g.dtype])
            y = g.add("Tanh", [y], g.shapes[a])
        else:
            y = g.add(rng.choice(["Add", "Mul", "Sub", "Max", "Min"]), [a, b], broadcast(a, b))
            if rng.random() < 0.5:
                y = g.add("Tanh", [y], g.shapes[y])
        floats.append(y)
    return g.model([f for f in floats[6:] if rng.random() < 0.15])


# --------------------------------------------------------------------- transformers
def build_transformer(g):
    """Norms and activations written out, heads by shape arithmetic, matrix products of rows."""
    rng = g.rng
    b, t, d, heads = 2, 5, 8, 2
    symbols = ["batch", "sequence", None] if rng.random() < 0.7 else [None] * 3
    x = g.input((b, t, d), symbols)
    full = (b, t, d)

    def layer_norm(x):
        mean = g.add("ReduceMean", [x], (b, t, 1), axes=[-1])
        c = g.add("Sub", [x, mean], full)
        square = g.add("Pow", [c, g.number(2)], full) if rng.random() < 0.5 else g.add("Mul", [c, c], full)
        deviation = g.add("Sqrt", [g.add("Add", [g.add("ReduceMean", [square], (b, t, 1), axes=[-1]),
                                                 g.number(1e-5)], (b, t, 1))], (b, t, 1))
        y = g.add("Div", [c, deviation], full)
        return g.add("Add", [g.add("Mul", [y, g.normal([d])], full), g.normal([d])], full)

    def rms_norm(x):
        mean = g.add("ReduceMean", [g.add("Pow", [x, g.number(2)], full)], (b, t, 1), axes=[-1])
        root = g.add("Sqrt", [g.add("Add", [mean, g.number(1e-6)], (b, t, 1))], (b, t, 1))
        y = g.add("Mul", [x, g.add("Reciprocal", [root], (b, t, 1))], full)
        return g.add("Mul", [g.normal([d]), y], full)

    def linear(x, n):
        """As MatMul with a (perhaps transposed) weight, or as Gemm of the rows."""
        shape = (b, t, n)
        k = g.shapes[x][-1]
        kind = rng.randrange(3)
        if kind == 0:
            y = g.add("MatMul", [x, g.normal([k, n], 1 / np.sqrt(k))], shape)
            return g.add("Add", [g.normal([n]), y], shape)
        if kind == 1:
            w = g.add("Transpose", [g.normal([n, k], 1 / np.sqrt(k))], (k, n), perm=[1, 0])
            return g.add("MatMul", [x, w], shape)
        rows = g.add("Reshape", [x, g.ints([-1, k])], (b * t, k))
        y = g.add("Gemm", [rows, g.normal([k, n], 1 / np.sqrt(k)), g.normal([n])], (b * t, n),
                  alpha=rng.choice([1.0, 0.5]))
        size = g.add("Slice", [g.add("Shape", [x], (3,)), g.ints([0]), g.ints([2])], (2,))
        return g.add("Reshape", [y, g.add("Concat", [size, g.ints([n])], (3,), axis=0)], shape)

    def split_heads(x):
        size = g.add("Shape", [x], (3,))
        parts = [g.add("Unsqueeze", [g.add("Gather", [size, g.const(np.int64(i))], (), axis=0), g.ints([0])], (1,))
                 for i in (0, 1)]
        target = g.add("Concat", parts + [g.ints([heads]), g.ints([d // heads])], (4,), axis=0)
        y = g.add("Reshape", [x, target], (b, t, heads, d // heads))
        return g.add("Transpose", [y], (b, heads, t, d // heads), perm=[0, 2, 1, 3])

    def attention(x):
        q, k, v = (split_heads(linear(x, d)) for _ in range(3))
        scores_shape = (b, heads, t, t)
        kt = g.add("Transpose", [k], (b, heads, d // heads, t), perm=[0, 1, 3, 2])
        if rng.random() < 0.5:  # As torch's scaled_dot_product_attention is exported: the root of the scale, twice.
            q, kt = (g.add("Mul", [v, g.number(f)], g.shapes[v]) for v, f in ((q, 0.7), (kt, 0.6)))
            s = g.add("MatMul", [q, kt], scores_shape)
        else:
            s = g.add("Div", [g.add("MatMul", [q, kt], scores_shape), g.number(2)], scores_shape)
        if rng.random() < 0.5:
            p = g.add("Softmax", [s], scores_shape, axis=-1)
        else:
            top = g.add("ReduceMax", [s], (b, heads, t, 1), axes=[-1])
            e = g.add("Exp", [g.add("Sub", [s, top], scores_shape)], scores_shape)
            p = g.add("Div", [e, g.add("ReduceSum", [e, g.ints([-1])], (b, heads, t, 1))], scores_shape)
        y = g.add("Transpose", [g.add("MatMul", [p, v], (b, heads, t, d // heads))], (b, t, heads, d // heads),
                  perm=[0, 2, 1, 3])
        return linear(g.add("Reshape", [y, g.ints([0, 0, d])], full), d)

    def mlp(x):
        y = linear(x, 2 * d)
        shape = g.shapes[y]
        if rng.random() < 0.5:
            cube = g.add("Mul", [g.add("Pow", [y, g.number(3)], shape), g.number(0.044715)], shape)
            inner = g.add("Mul", [g.add("Add", [y, cube], shape), g.number(np.sqrt(2 / np.pi))], shape)
            phi = g.add("Add", [g.add("Tanh", [inner], shape), g.number(1)], shape)
        else:
            e = g.add("Erf", [g.add("Mul", [y, g.number(np.sqrt(0.5))], shape)], shape)
            phi = g.add("Add", [g.number(1), e], shape)
        y = g.add("Mul", [g.add("Mul", [y, g.number(0.5)], shape), phi], shape)
        return linear(y, d)

    for _ in range(rng.choice([1, 2])):
        norm = rng.choice([layer_norm, rms_norm])
        x = g.add("Add", [x, attention(norm(x))], full)
        x = g.add("Add", [mlp(norm(x)), x], full)
    return g.model([])


KINDS = {"cnn": (lambda g: Cnn(g).build(), 3), "branches": (lambda g: branches.Branches(g).build(), 3), "elementwise": (build_elementwise, 1), "transformer": (build_transformer, 1)}


def check(model, feeds, tolerance, folder, flags=()):
    """None, or what is wrong. `flags` say how to compile the model that is compared with --opt=0."""
    path = os.path.join(folder, "m.onnx")
    onnx.checker.check_model(model)
    onnx.save(model, path)
    results = []
    for name, flags in (("default", list(flags)), ("oracle", ["--opt=0"])):
        out = os.path.join(folder, name + ".so")
        nnopt.compile(path, out, flags)
        with nnopt.Session(out) as session:
            results.append(session.run(None, feeds))
    errors = [nnopt.difference(got, want) for got, want in zip(*results)]
    worst = max(errors)
    if worst <= tolerance:
        return None
    return f"output {errors.index(worst)} differs by {worst:.2e} of its scale"


def options(doc, count, **more):
    """The command line that the numeric tests share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--only", **more)
    parser.add_argument("--keep", help="folder for the models that failed")
    return parser.parse_args()


def run(options, make, further=None):
    """Compares models of consecutive seeds; `make(rng)` gives what kind it is, its graph and the model (and flags to
    compile it with), and `further(kind, model, folder)` says what else is wrong. Returns the exit code."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(options.seed, options.seed + options.count):
            kind, graph, model, *flags = make(random.Random(i))
            dtype = np.dtype(graph.dtype)
            try:
                problem = check(model, graph.feeds, 1e-12 if dtype == np.float64 else 1e-5, folder, *flags)
                if problem is None and further:
                    problem = further(kind, model, folder)
            except (RuntimeError, subprocess.CalledProcessError, onnx.checker.ValidationError) as error:
                problem = str(error)
            if problem is None:
                passed += 1
                continue
            failed += 1
            print(f"FAIL {kind} --seed={i} --count=1 ({dtype.name}, {len(graph.nodes)} nodes): {problem}", flush=True)
            if options.keep:
                os.makedirs(options.keep, exist_ok=True)
                onnx.save(model, os.path.join(options.keep, f"{kind}-{i}.onnx"))
                np.savez(os.path.join(options.keep, f"{kind}-{i}.npz"), **graph.feeds)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def optimized(folder):
    """The text of the optimized graph of the model that was checked last."""
    command = [nnopt.tool("nnopt-compile"), os.path.join(folder, "m.onnx"), "--emit=nn"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main():
    chosen = options(__doc__, 60, choices=KINDS)
    kinds = [k for k, (_, weight) in KINDS.items() for _ in range(weight) if chosen.only in (None, k)]

    def make(rng):
        kind, dtype = rng.choice(kinds), rng.choice([np.float32, np.float32, np.float64])
        graph = Graph(rng, dtype)
        return kind, graph, KINDS[kind][0](graph)

    return run(chosen, make)


if __name__ == "__main__":
    sys.exit(main())
