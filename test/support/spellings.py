"""Random spellings of normalizations, and normalizations where their weights can take something over, for
numeric_patterns.py."""
import numpy as np
from onnx import helper


def build_norm(g):
    """L2, instance and group normalization written out."""
    rng = g.rng
    kind = rng.choice(["floor", "epsilon", "instance", "group"])
    n, c, size = 2, rng.choice([4, 8]), rng.choice([3, 6])
    shape = (n, c, size, size)
    x = g.input(shape, ["n" if rng.random() < 0.5 else None, None, None, None])
    if rng.random() < 0.5:
        x = g.add("Relu", [x], shape)

    def reduce(op, v, axes, wide):
        """Axes are an operand of ReduceSum only, in opset 17."""
        out = tuple(1 if i in axes else d for i, d in enumerate(wide))
        if op == "ReduceSum":
            return g.add(op, [v, g.ints(axes)], out, keepdims=1)
        return g.add(op, [v], out, axes=axes, keepdims=1)

    def root(v):
        shape = g.shapes[v]
        return g.add("Sqrt", [v], shape) if rng.random() < 0.5 else g.add("Pow", [v, g.number(0.5)], shape)

    def square(v):
        return g.add("Mul", [v, v], g.shapes[v]) if rng.random() < 0.5 else g.add("Pow", [v, g.number(2)], g.shapes[v])

    if kind == "floor":
        axis, floor = [rng.choice([1, 3])], rng.choice([1e-12, 0.5])
        norm = rng.choice([lambda: reduce("ReduceL2", x, axis, shape), lambda: root(reduce("ReduceSumSquare", x, axis, shape)),
                           lambda: root(reduce("ReduceSum", square(x), axis, shape)), lambda: reduce("ReduceL1", x, axis, shape)])()
        least = g.number(floor)
        norm = g.add("Clip", [norm, least], g.shapes[norm]) if rng.random() < 0.5 else \
            g.add("Max", rng.sample([norm, least], 2), g.shapes[norm])
        if rng.random() < 0.5:
            norm = g.add("Expand", [norm, g.add("Shape", [x], (4,))], shape)
        y = g.add("Div", [x, norm], shape)
        expected = "lp_norm"
    elif kind == "epsilon":
        sums = reduce("ReduceSum", square(x), [3], shape) if rng.random() < 0.5 else reduce("ReduceSumSquare", x, [3], shape)
        total = g.add("Add", [sums, g.number(0.1)], g.shapes[sums])
        if rng.random() < 0.5:
            y = g.add("Div", [x, root(total)], shape)
        else:
            y = g.add("Mul", [x, g.add("Reciprocal", [root(total)], g.shapes[total])], shape)
        expected = "rms_norm"
    else:
        v, wide, axes = x, shape, [2, 3]
        if kind == "group":
            groups = rng.choice([2, c])
            wide = (n, groups, c // groups, size, size) if rng.random() < 0.5 else (n, groups, c // groups * size * size)
            axes = list(range(2, len(wide)))
            v = g.add("Reshape", [x, g.ints([0, *wide[1:]])], wide)
        centered = g.add("Sub", [v, reduce("ReduceMean", v, axes, wide)], wide)
        variance = reduce("ReduceMean", square(centered), axes, wide)
        y = g.add("Div", [centered, root(g.add("Add", [variance, g.number(1e-3)], g.shapes[variance]))], wide)
        if kind == "group":
            y = g.add("Reshape", [y, g.ints([0, *shape[1:]])], shape)
        if kind == "instance" or rng.random() < 0.5:
            y = g.add("Mul", [y, g.normal([c, 1, 1])], shape)
            y = g.add("Add", [y, g.normal([c, 1, 1])], shape)
        expected = "group_norm"
    g.expected = [(expected, 1, 1), ("reduce", 0, 0), ("map", 0, 0)]
    return g.model([])


def build_stream(g):
    """A pre-norm residual stream: from a table or a product, sums of products, read by layer_norms."""
    rng = g.rng
    d, t, layers = 8, rng.choice([1, 5]), rng.choice([1, 2, 3])
    shape = (2, t, d)

    def linear(v, k, n):
        y = g.add("MatMul", [v, g.normal([k, n], 1 / np.sqrt(k))], (2, t, n))
        return g.add("Add", [y, g.normal([n])], (2, t, n)) if rng.random() < 0.7 else y

    def norm(v):
        return g.add("LayerNormalization", [v, g.normal([d])] + ([g.normal([d])] if rng.random() < 0.7 else []), shape, axis=-1)

    if rng.random() < 0.5:
        ids = g.name("ids")
        g.feeds[ids] = g.data.integers(0, 9, (2, t)).astype(np.int64)
        g.inputs.append(helper.make_tensor_value_info(ids, 7, [2, t]))
        g.shapes[ids] = (2, t)
        x = g.add("Gather", [g.normal([9, d]), ids], shape)
    else:
        x = linear(g.input((2, t, 5), ["n" if rng.random() < 0.5 else None, None, None]), 5, d)
    if rng.random() < 0.5:
        x = g.add("Add", [x, g.normal([1, t, d])], shape)
    skip_is_read = rng.random() < 0.2
    for i in range(layers):
        y = g.add("Relu", [linear(norm(x), d, 6)], (2, t, 6))
        x = g.add("Add", rng.sample([x, linear(y, 6, d)], 2), shape)
    extra = [g.add("Tanh", [x], shape)] if skip_is_read else []
    linear(norm(x), d, 3)
    kinds = (0, layers + 1) if not skip_is_read else (layers + 1, 0)
    g.expected = [("layer_norm", kinds[0], kinds[0]), ("rms_norm", kinds[1], kinds[1])]
    return g.model(extra)


def build_recurrent_norm(g):
    """Batch normalization of the features before an LSTM, GRU or RNN."""
    rng = g.rng
    n, c, t, hidden = rng.choice([1, 3]), 5, rng.choice([1, 4]), 4
    x = g.input((n, c, t), [None, None, "t" if rng.random() < 0.5 else None])
    variance = g.const((g.data.random(c) + 0.5).astype(g.dtype))
    y = g.add("BatchNormalization", [x, g.normal([c]), g.normal([c]), g.normal([c]), variance], (n, c, t))
    y = g.add("Transpose", [y], (t, n, c), perm=[2, 0, 1])
    op, gates = rng.choice([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    directions = rng.choice([1, 2])
    inputs = [y, g.normal([directions, gates * hidden, c], 0.4), g.normal([directions, gates * hidden, hidden], 0.4)]
    if rng.random() < 0.6:
        inputs.append(g.normal([directions, 2 * gates * hidden]))
    more = {"linear_before_reset": rng.choice([0, 1])} if op == "GRU" else {}
    g.add(op, inputs, (t, directions, n, hidden), hidden_size=hidden, direction=["forward", "bidirectional"][directions - 1], **more)
    g.expected = [("batch_norm", 0, 0), ("map", 0, 0), ("mul", 0, 0), ("add", 0, 0)]
    return g.model([])


def build_one_head(g):
    """Attention with one head as in image generators: products around it become one each where they are not wider."""
    rng = g.rng
    d, t, width, out = 8, rng.choice([3, 6]), rng.choice([4, 8, 12]), rng.choice([4, 8])
    x = g.input((2, t, d), ["n" if rng.random() < 0.5 else None, None, None])

    def linear(v, k, n):
        y = g.add("MatMul", [v, g.normal([k, n], 1 / np.sqrt(k))], (2, t, n))
        return g.add("Add", [y, g.normal([n])], (2, t, n)) if rng.random() < 0.6 else y

    q, k, v = (linear(x, d, width) for _ in range(3))
    scores = g.add("MatMul", [q, g.add("Transpose", [k], (2, width, t), perm=[0, 2, 1])], (2, t, t))
    scores = g.add("Mul", [scores, g.number(0.3)], (2, t, t))
    y = g.add("MatMul", [g.add("Softmax", [scores], (2, t, t), axis=-1), v], (2, t, width))
    linear(y, width, out)
    # Products of x are one then (merge-shared-input).
    g.expected = [("attention", 1, 1), ("matmul", 1, 4 - (d <= width) - (out <= width)), ("softmax", 0, 0)]
    return g.model([])
