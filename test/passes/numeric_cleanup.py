#!/usr/bin/env python3
"""Random graphs that are larger than need be through the default passes: against --opt=0, and that work went away.

    numeric_cleanup.py [--seed=N] [--count=N] [--only=KIND] [--keep=DIR]

Kinds: parts of what transformers and convolutions compute (hoist-slices), parts put together and taken apart
(cleanup-slices), convolutions whose results are put beside each other (written there), pointwise work beside pooling and resizing (reorder-resampling), hidden units that are dead, constant or
multiples (remove-relu-units), weights of low rank (factorize-low-rank), loops and branches with known counts and conditions (unroll-loops, fold-shapes), casts and
transposes around elementwise operations (cleanup-transposes), weights that are built (fold-constants). Of some kinds
operations of the optimized graph are counted. Ends with `N passed, N failed`.
"""
import os
import re
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numeric
from numeric import TYPES, helper
from onnx import TensorProto


# --------------------------------------------------------------------- parts of what is computed
def take(g, x, axis, rng):
    """One position, or some, of x along an axis, as exporters write it."""
    shape, n = list(g.shapes[x]), g.shapes[x][axis]
    form = rng.choice(["gather", "gather1", "last", "slice"])
    if form == "gather":
        return g.add("Gather", [x, g.const(np.int64(rng.choice([0, -1])))], shape[:axis] + shape[axis + 1:], axis=axis)
    if form == "gather1":
        shape[axis] = 1
        return g.add("Gather", [x, g.ints([rng.choice([0, -1])])], shape, axis=axis)
    start = n - 1 if form == "last" else rng.randrange(n)
    end = n if form == "last" else min(n, start + rng.choice([1, 2]))
    shape[axis] = end - start
    bounds = ([-1], [1 << 40]) if form == "last" else ([start], [end])
    return g.add("Slice", [x, g.ints(bounds[0]), g.ints(bounds[1]), g.ints([axis])], shape)


def build_parts(g):
    rng = g.rng
    b, t, heads, size = rng.choice([1, 2]), rng.choice([3, 7, 12]), 2, 4
    d = heads * size
    dynamic = rng.random() < 0.5
    x = g.input((b, t, d), [None, "sequence" if dynamic else None, None])

    def linear(v, m):
        shape = g.shapes[v][:-1] + (m,)
        y = g.add("MatMul", [v, g.normal([g.shapes[v][-1], m], 0.4)], shape)
        return g.add("Add", [y, g.normal([m])], shape) if rng.random() < 0.7 else y

    def norm(v):
        return g.add("LayerNormalization", [v, g.normal([d]), g.normal([d])], g.shapes[v], axis=-1)

    def heads_of(v):
        v = g.add("Reshape", [v, g.ints([0, 0, heads, size])], (b, t, heads, size))
        return g.add("Transpose", [v], (b, heads, t, size), perm=[0, 2, 1, 3])

    def attention(v):
        q, k, w = (heads_of(linear(v, d)) for _ in range(3))
        k = g.add("Transpose", [k], (b, heads, size, t), perm=[0, 1, 3, 2])
        s = g.add("Div", [g.add("MatMul", [q, k], (b, heads, t, t)), g.number(2)], (b, heads, t, t))
        if rng.random() < 0.4 and not dynamic:
            s = g.add("Add", [s, g.const(np.triu(np.full((t, t), -np.inf), 1).astype(g.dtype))], (b, heads, t, t))
        p = g.add("Softmax", [s], (b, heads, t, t), axis=-1)
        y = g.add("Transpose", [g.add("MatMul", [p, w], (b, heads, t, size))], (b, t, heads, size), perm=[0, 2, 1, 3])
        return linear(g.add("Reshape", [y, g.ints([0, 0, d])], (b, t, d)), d)

    for _ in range(rng.choice([1, 2])):
        x = g.add("Add", [x, attention(norm(x))], (b, t, d))
        h = linear(norm(x), 2 * d)
        h = g.add(rng.choice(["Relu", "Tanh", "Sigmoid"]), [h], g.shapes[h])
        x = g.add("Add", [linear(h, d), x], (b, t, d))
    x = norm(x) if rng.random() < 0.5 else x
    y = take(g, x, rng.choice([1, 1, 1, 2]), rng)
    if g.shapes[y][-1] == d:
        linear(y, 5)
    # Sometimes somebody needs all of it.
    return g.model([x] if rng.random() < 0.2 else [])


def build_concats(g):
    """Splits, slices and gathers of concatenations, and the other way round."""
    rng = g.rng
    axis = rng.choice([0, 1, 2])
    shape = [2, 3, 4]

    def sized(n):
        return tuple(n if i == axis else s for i, s in enumerate(shape))

    values = [g.input(sized(n), [None] * 3) for n in (3, 4, 6)]
    for _ in range(rng.randrange(3, 9)):
        v = rng.choice(values)
        n = g.shapes[v][axis]
        kind = rng.randrange(5)
        if kind == 0 and n > 1:
            cut = rng.randrange(1, n)
            names = [g.name(), g.name()]
            g.nodes.append(helper.make_node("Split", [v, g.ints([cut, n - cut])], names, axis=axis))
            g.used.add(v)
            g.shapes.update({names[0]: sized(cut), names[1]: sized(n - cut)})
            values += names
        elif kind == 1 and n > 1:
            start = rng.randrange(n - 1)
            end = rng.randrange(start + 1, n + 1)
            values.append(g.add("Slice", [v, g.ints([start]), g.ints([end]), g.ints([axis])], sized(end - start)))
        elif kind == 2:
            parts = [rng.choice(values[-4:]) for _ in range(rng.choice([2, 2, 3]))]
            values.append(g.add("Concat", parts, sized(sum(g.shapes[p][axis] for p in parts)), axis=axis))
        elif kind == 3:
            i = rng.randrange(n)
            part = g.add("Gather", [v, g.const(np.int64(i))], sized(1)[:axis] + sized(1)[axis + 1:], axis=axis)
            values.append(g.add("Unsqueeze", [part, g.ints([axis])], sized(1)))
        else:  # All parts, scaled and shifted, together again.
            parts = []
            for i in range(n):
                part = g.add("Gather", [v, g.const(np.int64(i))], sized(1)[:axis] + sized(1)[axis + 1:], axis=axis)
                part = g.add("Unsqueeze", [part, g.ints([axis])], sized(1))
                part = g.add("Mul", [part, g.number(rng.uniform(0.5, 2))], sized(1))
                parts.append(g.add("Add", [part, g.number(rng.uniform(-1, 1))], sized(1)))
            values.append(g.add("Concat", parts, sized(n), axis=axis))
    return g.model([v for v in values[3:] if rng.random() < 0.2] or values[-1:])


# --------------------------------------------------------------------- pooling and resizing
def build_resampling(g):
    rng = g.rng
    c, size = rng.choice([1, 3, 8]), rng.choice([4, 6])
    x = g.input((rng.choice([1, 2]), c, size, size), ["n" if rng.random() < 0.3 else None, None, None, None])

    def conv(v, k):
        n, c, h, w = g.shapes[v]
        m, pad = rng.choice([1, 2, 4, 12]), rng.choice([0, k // 2])
        inputs = [v, g.normal([m, c, k, k], 1 / np.sqrt(c * k * k))] + ([g.normal([m])] if rng.random() < 0.6 else [])
        return g.add("Conv", inputs, (n, m, h + 2 * pad - k + 1, w + 2 * pad - k + 1), pads=[pad] * 4)

    def pool(v):
        n, c, h, w = g.shapes[v]
        k, pad = rng.choice([2, 2, 3, min(h, w)]), rng.choice([0, 0, 1])
        pad = 0 if k == min(h, w) else pad
        kind = rng.choice(["AveragePool", "AveragePool", "MaxPool"])
        more = {"count_include_pad": rng.choice([0, 1])} if kind == "AveragePool" else {}
        s = rng.choice([1, 2, 2])
        out = [(d + 2 * pad - k) // s + 1 for d in (h, w)]
        return g.add(kind, [v], (n, c, *out), kernel_shape=[k, k], strides=[s, s], pads=[pad] * 4, **more)

    def resize(v):
        n, c, h, w = g.shapes[v]
        s = [rng.choice([1, 2, 3]), rng.choice([2, 2, 3])]
        mode = rng.choice(["nearest", "nearest", "nearest", "linear"])
        coordinates, rounding = rng.choice([("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "floor"),
                                            ("align_corners", "round_prefer_ceil"), ("asymmetric", "ceil")])
        more = {"nearest_mode": rounding} if mode == "nearest" else {}
        out = (n, c, h * s[0], w * s[1])
        if rng.random() < 0.5 and not any(v.type.tensor_type.shape.dim[0].dim_param for v in g.inputs):
            operands = [v, "", "", g.ints(list(out))]
        else:
            operands = [v, "", g.const(np.array([1, 1, *s], np.float32))]
        return g.add("Resize", operands, out, mode=mode, coordinate_transformation_mode=coordinates, **more)

    def pointwise(v):
        kind = rng.choice(["Relu", "Tanh", "Abs", "scale", "Sigmoid", "LeakyRelu"])
        if kind == "scale":
            return g.add("Mul", [v, g.normal([g.shapes[v][1], 1, 1])], g.shapes[v])
        return g.add(kind, [v], g.shapes[v])

    values = [x]
    for _ in range(rng.randrange(3, 8)):
        v = values[-1]
        small = min(g.shapes[v][2:])
        step = rng.choice(["conv1", "conv1", "conv3", "pool", "resize", "pointwise", "pointwise"])
        if step == "conv1" or (step == "conv3" and small >= 3):
            v = conv(v, 1 if step == "conv1" else 3)
        elif step == "pool" and small >= 3:
            v = pool(v)
        elif step == "resize" and np.prod(g.shapes[v]) < 3000:
            v = resize(v)
        else:
            v = pointwise(v)
        values.append(v)
    return g.model([v for v in values[1:] if rng.random() < 0.1])


# --------------------------------------------------------------------- dense blocks and branches
def build_dense(g):
    """Convolutions whose results lie beside each other: blocks that concatenate everything again, and branches."""
    rng = g.rng
    n, size = rng.choice([1, 1, 2]), rng.choice([5, 8, 14])
    x = g.input((n, rng.choice([3, 16]), size, size), ["n" if rng.random() < 0.3 else None, None, None, None])

    def conv(v, m, k, group=1):
        n, c = g.shapes[v][:2]
        w = g.normal([m, c // group, k, k], 1 / np.sqrt(c // group * k * k))
        return g.add("Conv", [v, w, g.normal([m])], (n, m, *g.shapes[v][2:]), pads=[k // 2] * 4, group=group)

    def norm(v):
        c = g.shapes[v][1]
        variance = g.const((g.data.random(c) + 0.5).astype(g.dtype))
        y = g.add("BatchNormalization", [v, g.normal([c]), g.normal([c]), g.normal([c]), variance], g.shapes[v])
        return g.add("Relu", [y], g.shapes[v])

    def concat(parts):
        return g.add("Concat", parts, (n, sum(g.shapes[p][1] for p in parts), size, size), axis=1)

    features = [conv(x, rng.choice([5, 16]), 1)]
    for _ in range(rng.choice([2, 3])):
        if rng.random() < 0.7:  # As DenseNet.
            y = concat(features) if len(features) > 1 else features[0]
            y = conv(norm(conv(norm(y), rng.choice([7, 16]), 1)), rng.choice([4, 5, 16]), 3)
        else:  # As GoogLeNet and GhostNet.
            v = rng.choice(features)
            parts = [conv(v, rng.choice([4, 16]), rng.choice([1, 3])) for _ in range(rng.choice([1, 2]))]
            parts.append(conv(v, g.shapes[v][1], 3, g.shapes[v][1]))
            if rng.random() < 0.5:
                parts = [g.add("Relu", [p], g.shapes[p]) for p in parts]
            y = concat(parts)
        features.append(y)
    y = concat(features)
    conv(norm(y) if rng.random() < 0.5 else y, 4, 1)
    return g.model([f for f in features if rng.random() < 0.1])


# --------------------------------------------------------------------- hidden units
def build_units(g):
    """Layers with units that are dead, constant, not read, or multiples; `g.live` is how many are left at most."""
    rng = g.rng
    n, width, live = rng.choice([3, 5]), rng.choice([2, 7]), rng.choice([1, 3, 6])
    w, b = g.data.standard_normal((live, width)), g.data.standard_normal(live)
    v = g.data.standard_normal((live, 4))
    g.live = live
    for _ in range(rng.choice([0, 1, 4])):
        kind = rng.choice(["dead", "multiple", "constant", "unread"])
        i = rng.randrange(live)
        row, bias, out = g.data.standard_normal(width), g.data.standard_normal(), g.data.standard_normal(4)
        if kind == "multiple":
            c = rng.choice([1, 2, 0.7, 3.1])
            row, bias = c * w[i], c * b[i]
        elif kind == "unread":
            out = np.zeros(4)
        else:
            row, bias = np.zeros(width), abs(bias) if kind == "constant" else -abs(bias)
        w, b, v = np.vstack([w, row]), np.append(b, bias), np.vstack([v, out])
    order = g.data.permutation(len(w))
    w, b, v = (a[order].astype(g.dtype) for a in (w, b, v))
    if rng.random() < 0.5:
        x = g.input((n, width), ["n" if rng.random() < 0.5 else None, None])
        h = g.add("Gemm", [x, g.const(w), g.const(b)], (n, len(w)), transB=1)
        h = g.add("Relu", [h], (n, len(w)))
        g.add("MatMul", [h, g.const(v)], (n, 4))
        return g.model([])
    x = g.input((1, width, 4, 4), [None] * 4)
    h = g.add("Conv", [x, g.const(w[:, :, None, None]), g.const(b)], (1, len(w), 4, 4))
    h = g.add("Relu", [h], (1, len(w), 4, 4))
    size, pad = 4, rng.choice([0, 1])
    if rng.random() < 0.5:
        h, size = g.add(rng.choice(["MaxPool", "AveragePool"]), [h], (1, len(w), 2, 2), kernel_shape=[2, 2], strides=[2, 2]), 2
        pad = 1
    kernel = np.repeat(v.T[:, :, None], 9, 2).reshape(4, len(w), 3, 3)
    g.live = None if pad else live  # Constant units stay at a border.
    g.add("Conv", [h, g.const(kernel.astype(g.dtype))], (1, 4, size + 2 * pad - 2, size + 2 * pad - 2), pads=[pad] * 4)
    return g.model([])


# --------------------------------------------------------------------- weights of low rank
def build_low_rank(g):
    """A layer whose weights are the product of two smaller matrices, rounded; `g.widths` is what must be computed."""
    rng = g.rng
    out, width, kernel = rng.choice([64, 96, 150]), rng.choice([48, 80]), rng.choice([None, 1, 3])
    columns = width * (kernel or 1) ** 2
    most = out * columns // (2 * (out + columns))
    rank = rng.choice([1, 5, most, most + 2])
    w = (g.data.standard_normal((out, rank)) @ g.data.standard_normal((rank, columns)) / columns ** 0.5).astype(g.dtype)
    pays = g.dtype == np.float32 and rank <= most and w.size >= 4096
    g.widths = [rank, out] if pays else [out]
    bias = [g.normal([out])] if rng.random() < 0.5 else []
    if not kernel:
        x = g.input((3, width), ["n" if rng.random() < 0.5 else None, None])
        g.add("Gemm", [x, g.const(w), *bias], (3, out), transB=1)
        return g.model([])
    x = g.input((1, width, 5, 6), [None] * 4)
    stride, pad = rng.choice([1, 2]), rng.choice([0, 1]) if kernel == 3 else 0
    size = [(n + 2 * pad - kernel) // stride + 1 for n in (5, 6)]
    g.add("Conv", [x, g.const(w.reshape(out, width, kernel, kernel)), *bias], (1, out, *size), strides=[stride] * 2, pads=[pad] * 4)
    return g.model([])


# --------------------------------------------------------------------- loops and branches
def build_control(g):
    rng = g.rng
    shape = (2, 3)
    x = g.input(shape, ["n" if rng.random() < 0.5 else None, None])
    trips = rng.choice([0, 1, 2, 5])
    scans = trips > 0 and rng.random() < 0.5
    info = helper.make_tensor_value_info
    kind = TYPES[g.dtype]
    body = [helper.make_node("Identity", ["go"], ["again"], name="again"),
            helper.make_node("Cast", ["i"], ["number"], to=kind, name="number"),
            helper.make_node("Add", ["state", "number"], ["moved"], name="moved"),
            helper.make_node(rng.choice(["Tanh", "Sigmoid"]), ["moved"], ["next"], name="next")]
    outputs = [info("again", TensorProto.BOOL, []), info("next", kind, [None, 3])]
    if scans:
        body.append(helper.make_node("Neg", ["next"], ["scanned"], name="scanned"))
        outputs.append(info("scanned", kind, [None, 3]))
    graph = helper.make_graph(body, "body", [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []),
                                             info("state", kind, [None, 3])], outputs)
    names = [g.name() for _ in outputs[1:]]
    g.nodes.append(helper.make_node("Loop", [g.const(np.int64(trips)), "", x], names, body=graph, name="loop"))
    g.used.add(x)
    for name, s in zip(names, (shape, (trips, *shape))):
        g.shapes[name] = s
        g.add("Reshape", [name, g.ints([-1, 3])], (-1, 3))
    condition = g.const(np.array(rng.random() < 0.5))
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Abs")):
        branches[name] = helper.make_graph([helper.make_node(op, [names[0]], [name], name=name)], name, [],
                                           [info(name, kind, [None, 3])])
    y = g.name()
    g.nodes.append(helper.make_node("If", [condition], [y], name="if", **branches))
    g.used.add(names[0])
    g.shapes[y] = shape
    g.add("Reshape", [y, g.ints([-1, 3])], (-1, 3))
    return g.model([])


# --------------------------------------------------------------------- casts, transposes, weights
def build_chains(g):
    rng = g.rng
    shape, perm = (2, 3, 4), [list(p) for p in ((0, 2, 1), (1, 0, 2), (2, 0, 1))]
    x = g.input(shape, [None] * 3)
    for _ in range(rng.randrange(2, 6)):
        kind = rng.randrange(3)
        if kind == 0:
            p = rng.choice(perm)
            moved = tuple(g.shapes[x][i] for i in p)
            x = g.add("Transpose", [x], moved, perm=p)
            constant = g.normal([rng.choice([1, moved[1]]), rng.choice([1, moved[2]])])
            x = g.add(rng.choice(["Add", "Mul"]), [x, constant], moved)
            x = g.add("Transpose", [x], tuple(moved[i] for i in np.argsort(p)), perm=[int(i) for i in np.argsort(p)])
        elif kind == 1:
            # Off the integers, and within all types.
            y = g.add("Add", [g.add("Tanh", [x], g.shapes[x]), g.number(1.37)], g.shapes[x])
            y = g.add("Mul", [y, g.number(40)], g.shapes[x])
            y = g.add("Cast", [y], g.shapes[x], to=TensorProto.INT8)
            for _ in range(rng.choice([1, 2, 3])):
                y = g.add("Cast", [y], g.shapes[x], to=rng.choice([TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
                                                                  TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT8]))
            x = g.add("Tanh", [g.add("Cast", [y], g.shapes[x], to=TYPES[g.dtype])], g.shapes[x])
        else:
            x = g.add("Neg", [x], g.shapes[x])
    return g.model([])


def build_weights(g):
    """Standardized weights, adapters, masks, dilated kernels and a small network of coordinates."""
    rng = g.rng
    m, c, k = 4, 3, 3
    x = g.input((1, c, 8, 8), [None] * 4)
    kind = rng.choice(["standardized", "adapter", "mask", "dilated", "coordinates"])
    full = (m, c, k, k)
    pads = [1] * 4
    if kind == "standardized":
        w = g.normal(list(full))
        mean = g.add("ReduceMean", [w], (m, 1, 1, 1), axes=[1, 2, 3])
        centered = g.add("Sub", [w, mean], full)
        variance = g.add("ReduceMean", [g.add("Mul", [centered, centered], full)], (m, 1, 1, 1), axes=[1, 2, 3])
        w = g.add("Div", [centered, g.add("Sqrt", [g.add("Add", [variance, g.number(1e-5)], (m, 1, 1, 1))], (m, 1, 1, 1))], full)
    elif kind == "adapter":
        low = g.add("MatMul", [g.normal([m, 2]), g.normal([2, c * k * k])], (m, c * k * k))
        low = g.add("Reshape", [g.add("Mul", [low, g.number(0.5)], (m, c * k * k)), g.ints(list(full))], full)
        w = g.add("Add", [g.normal(list(full)), low], full)
    elif kind == "mask":
        w = g.add("Mul", [g.normal(list(full)), g.const((g.data.random(full) < 0.5).astype(g.dtype))], full)
    elif kind == "dilated":
        # A kernel with zeros between, made by a transposed convolution with a one.
        one = g.const(np.ones((1, 1, 1, 1), g.dtype))
        w = g.add("Reshape", [g.normal(list(full)), g.ints([m * c, 1, k, k])], (m * c, 1, k, k))
        w = g.add("ConvTranspose", [w, one], (m * c, 1, 5, 5), strides=[2, 2])
        w, full, pads = g.add("Reshape", [w, g.ints([m, c, 5, 5])], (m, c, 5, 5)), (m, c, 5, 5), [2] * 4
    else:
        at = np.stack(np.meshgrid(*[np.linspace(-1, 1, k)] * 2, indexing="ij"), -1).reshape(k * k, 2)
        h = g.add("Sin", [g.add("MatMul", [g.const(at.astype(g.dtype)), g.normal([2, 8])], (k * k, 8))], (k * k, 8))
        w = g.add("Transpose", [g.add("MatMul", [h, g.normal([8, m * c])], (k * k, m * c))], (m * c, k * k), perm=[1, 0])
        w = g.add("Reshape", [w, g.ints(list(full))], full)
    g.add("Conv", [x, w], (1, m, 8, 8), pads=pads)
    return g.model([])


def units(graph, text):
    widths = [int(n) for n in re.findall(r"= nn\.(?:matmul|conv) .*-> tensor<(?:\d+|\?)x(?:\d+x\d+x)?(\d+)xf", text)]
    if graph.live is not None and widths and widths[0] > graph.live:
        return f"{widths[0]} units are left, {graph.live} are enough"
    return None


def factors(graph, text):
    widths = [int(n) for n in re.findall(r"= nn\.(?:matmul|conv) .*-> tensor<(?:\d+|\?)x(?:\d+x\d+x)?(\d+)xf", text)]
    return None if widths == graph.widths else f"layers of {widths} channels, expected {graph.widths}"


def without(*names):
    def check(graph, text):
        found = [n for n in names if re.search(rf"nn\.{n}\b", text)]
        return f"{', '.join(found)} is left" if found else None
    return check


KINDS = {"parts": (build_parts, None), "concats": (build_concats, None), "resampling": (build_resampling, None),
         "dense": (build_dense, None),
         "units": (build_units, units), "low rank": (build_low_rank, factors), "control": (build_control, without("loop", "if")), "chains": (build_chains, None),
         "weights": (build_weights, without("reduce", "matmul", "conv_transpose", "sin", "mul", "div", "map"))}


def main():
    chosen = numeric.options(__doc__, 32, choices=KINDS)
    graphs = {}

    def make(rng):
        kind = chosen.only or rng.choice(list(KINDS))
        graph = numeric.Graph(rng, rng.choice([np.float32, np.float32, np.float64]))
        model = KINDS[kind][0](graph)
        graphs[kind] = graph
        return kind, graph, model

    def left(kind, model, folder):
        check = KINDS[kind][1]
        return check(graphs[kind], numeric.optimized(folder)) if check else None

    return numeric.run(chosen, make, left)


if __name__ == "__main__":
    sys.exit(main())
