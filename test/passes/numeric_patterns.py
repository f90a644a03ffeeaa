#!/usr/bin/env python3
"""Random spellings of patterns through the default passes: against --opt=0, and that they were recognized.

    numeric_patterns.py [--seed=N] [--count=N] [--only=KIND] [--keep=DIR]

Kinds: rotary embeddings (halves and neighbours as pairs, an angle for each pair or element), mixtures of experts
(batched, expert by expert, and on gathered tokens), cells of an LSTM, sequences of them and of GRUs as steps and
loops, L2, instance and group normalization, batch normalization before recurrent cells, residual streams whose rows
can be centered, attention with one head, pre-activation residual nets (a sum and its normalization are two results of
one product), constants that are equal but for their names, and padding before convolutions and pools. The optimized graph must hold what the pattern becomes, and nothing of what it was. Ends with
`N passed, N failed`.
"""
import os
import re
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import numeric
import recurrent
import spellings
from numeric import TYPES, helper


# --------------------------------------------------------------------- rotary embeddings
def build_rotary(g):
    rng = g.rng
    b, heads, t, half = rng.choice([1, 2]), rng.choice([1, 3]), rng.choice([1, 5, 17]), rng.choice([1, 2, 4, 9, 16])
    size, shape = 2 * half, None
    interleaved, form = rng.random() < 0.5, rng.choice(["sum", "parts"])
    dynamic = rng.random() < 0.5
    x = g.input((b, t, heads * size), ["batch", "sequence", None] if dynamic else [None] * 3)
    if rng.random() < 0.5:  # Between transposes, as in attention.
        x = g.add("Reshape", [x, g.ints([0, 0, heads, size])], (b, t, heads, size))
        x = g.add("Transpose", [x], (b, heads, t, size), perm=[0, 2, 1, 3])
        angle_shape = (t, size) if form == "sum" else (t, half)
    else:
        x = g.add("Reshape", [x, g.ints([0, 0, heads, size])], (b, t, heads, size))
        angle_shape = (t, 1, size) if form == "sum" else (t, 1, half)
    shape = g.shapes[x]
    symbols = (["sequence"] + [None] * (len(angle_shape) - 1)) if dynamic else [None] * len(angle_shape)
    angle = g.input(angle_shape, symbols)
    cos, sin = g.add("Cos", [angle], angle_shape), g.add("Sin", [angle], angle_shape)
    part = shape[:-1] + (half,)

    def parts(v):
        if not interleaved and rng.random() < 0.3:
            first, second = g.name(), g.name()
            g.nodes.append(helper.make_node("Split", [v, g.ints([half, half])], [first, second], axis=3))
            g.used.add(v)
            g.shapes[first] = g.shapes[second] = part
            return first, second
        if interleaved and rng.random() < 0.5:
            pairs = g.add("Reshape", [v, g.ints([0, 0, 0, half, 2])], part + (2,))
            return [g.add("Gather", [pairs, g.const(np.int64(i))], part, axis=4) for i in (0, 1)]
        bounds = [(0, 1 << 40, 2), (1, 1 << 40, 2)] if interleaved else [(0, half, 1), (half, 1 << 40, 1)]
        return [g.add("Slice", [v, g.ints([s]), g.ints([e]), g.ints([-1]), g.ints([step])], part) for s, e, step in bounds]

    def joined(first, second):
        if not interleaved:
            return g.add("Concat", [first, second], shape, axis=-1)
        columns = [g.add("Unsqueeze", [v, g.ints([4])], part + (1,)) for v in (first, second)]
        pairs = g.add("Concat", columns, part + (2,), axis=-1)
        return g.add("Reshape", [pairs, g.ints([0, 0, 0, size])], shape)

    def mul(p, q, shape):
        return g.add("Mul", [p, q] if rng.random() < 0.5 else [q, p], shape)

    a, c = parts(x)
    if form == "sum":
        rotated = joined(g.add("Neg", [c], part), a)
        g.add("Add", [mul(x, cos, shape), mul(rotated, sin, shape)], shape)
    else:
        first = g.add("Sub", [mul(a, cos, part), mul(c, sin, part)], part)
        second = g.add("Add", [mul(c, cos, part), mul(a, sin, part)], part)
        joined(first, second)
    return g.model([])


# --------------------------------------------------------------------- mixtures of experts
def build_experts(g):
    rng = g.rng
    tokens, width, hidden = rng.choice([1, 2, 9, 40]), rng.choice([4, 8, 13]), rng.choice([5, 16, 70])
    experts = rng.choice([2, 4, 8])
    k = rng.choice([1, 2, 3])
    k = min(k, experts - 1)
    x = g.input((tokens, width), ["tokens" if rng.random() < 0.5 else None, None])
    logits = g.add("MatMul", [x, g.normal([width, experts])], (tokens, experts))
    values, choices = g.name(), g.name()
    g.nodes.append(helper.make_node("TopK", [logits, g.ints([k])], [values, choices], axis=1))
    g.used.add(logits)
    g.shapes[values] = g.shapes[choices] = (tokens, k)
    scores = g.add("Softmax", [values], (tokens, k), axis=1)
    size = g.add("Shape", [logits], (2,))
    form, routing = rng.choice(["batched", "each", "gathered"]), rng.choice(["rank", "rank", "threshold", "expert choice"])
    g.expected = [("grouped_matmul", 2, 3), ("non_zero", 0, 0), ("matmul", 1, 1)]
    if form != "gathered" and routing != "rank": # each token has another number of experts
        g.expected = [("moe", 1, 1), ("grouped_matmul", 0, 0), ("matmul", 1, 2)]
    gated, biased = rng.random() < 0.5, rng.random() < 0.4
    activation = rng.choice(["Relu", "silu", "Tanh"])

    def gates():
        if routing == "threshold":
            more = g.add("Greater", [logits, g.number(0.2)], (tokens, experts))
            if rng.random() < 0.5:
                return g.add("Where", [more, logits, g.number(0)], (tokens, experts))
            return g.add("Mul", [logits, g.add("Cast", [more], (tokens, experts), to=helper.np_dtype_to_tensor_dtype(np.dtype(g.dtype)))], (tokens, experts))
        if routing == "expert choice":
            best, at, count = g.name(), g.name(), min(tokens, 3)
            g.nodes.append(helper.make_node("TopK", [logits, g.ints([count])], [best, at], axis=0))
            g.shapes[best] = g.shapes[at] = (count, experts)
            none = g.add("ConstantOfShape", [size], (tokens, experts), value=numeric.numpy_helper.from_array(np.zeros(1, g.dtype)))
            return g.add("ScatterElements", [none, at, best], (tokens, experts), axis=0)
        none = g.add("ConstantOfShape", [size], (tokens, experts), value=numeric.numpy_helper.from_array(np.zeros(1, g.dtype)))
        return g.add("ScatterElements", [none, choices, scores], (tokens, experts), axis=1)

    def activate(v, shape):
        if activation == "silu":
            return g.add("Mul", [v, g.add("Sigmoid", [v], shape)], shape)
        return g.add(activation, [v], shape)

    def linear(v, n, m, lead, stacked):
        shape = lead + (m,)
        y = g.add("MatMul", [v, g.normal(([experts] if stacked else []) + [n, m], 1 / np.sqrt(n))], shape)
        return g.add("Add", [y, g.normal([experts, 1, m] if stacked else [m])], shape) if biased else y

    def expert(v, lead, stacked=False):
        h = activate(linear(v, width, hidden, lead, stacked), lead + (hidden,))
        if gated:
            h = g.add("Mul", [h, linear(v, width, hidden, lead, stacked)], lead + (hidden,))
        return linear(h, hidden, width, lead, stacked)

    if form == "batched":
        every = (experts, tokens, width)
        y = expert(g.add("Unsqueeze", [x, g.ints([0])], (1, tokens, width)), (experts, tokens), stacked=True)
        s = g.add("Unsqueeze", [g.add("Transpose", [gates()], (experts, tokens), perm=[1, 0]), g.ints([2])], (experts, tokens, 1))
        y = g.add("ReduceSum", [g.add("Mul", [y, s], every), g.ints([0])], (tokens, width), keepdims=0)
    elif form == "each":
        all_gates, y = gates(), x
        for e in range(experts):
            gate = g.add("Slice", [all_gates, g.ints([e]), g.ints([e + 1]), g.ints([1])], (tokens, 1))
            y = g.add("Add", [y, g.add("Mul", [expert(x, (tokens,)), gate], (tokens, width))], (tokens, width))
    else:
        y = gathered(g, x, choices, scores, experts, k, expert)
    return g.model([])


def gathered(g, x, choices, scores, experts, k, expert):
    """As PyTorch exports index_add of what each expert makes of its tokens."""
    tokens, width = g.shapes[x]
    hot = g.add("OneHot", [choices, g.const(np.int64(experts)), g.ints([0, 1])], (tokens, k, experts), axis=-1)
    masks = g.add("Transpose", [hot], (experts, k, tokens), perm=[2, 1, 0])
    flat = g.add("Reshape", [scores, g.ints([-1, 1])], (tokens * k, 1))
    none = g.add("ConstantOfShape", [g.add("Shape", [x], (2,))], (tokens, width),
                 value=numeric.numpy_helper.from_array(np.zeros(1, g.dtype)))
    y = none
    for e in range(experts):
        mask = g.add("Cast", [g.add("Gather", [masks, g.const(np.int64(e))], (k, tokens), axis=0)], (k, tokens), to=TYPES[np.bool_])
        rows = 1  # Some number: the shape depends on data.
        found = g.add("Transpose", [g.add("NonZero", [mask], (2, rows))], (rows, 2), perm=[1, 0])
        slot, token = g.name(), g.name()
        g.nodes.append(helper.make_node("Split", [found, g.ints([1, 1])], [slot, token], axis=1))
        g.used.add(found)
        g.shapes[slot] = g.shapes[token] = (rows, 1)
        slots, at = (g.add("Squeeze", [v, g.ints([1])], (rows,)) for v in (slot, token))
        result = expert(g.add("Gather", [x, at], (rows, width), axis=0), (rows,))
        place = g.add("Add", [slots, g.add("Mul", [at, g.ints([k])], (rows,))], (rows,))
        result = g.add("Mul", [result, g.add("Gather", [flat, place], (rows, 1), axis=0)], (rows, width))
        wide = g.add("Expand", [token, g.add("Shape", [result], (2,))], (rows, width))
        y = g.add("Add", [y, g.add("ScatterElements", [none, wide, result], (tokens, width), axis=0)], (tokens, width))
    return y


# --------------------------------------------------------------------- cells of an LSTM
def build_lstm_cell(g):
    rng = g.rng
    n, width, hidden = rng.choice([1, 3]), rng.choice([4, 9]), rng.choice([4, 16])
    names = ["n" if rng.random() < 0.5 else None, None]
    x, h, c = g.input((n, width), names), g.input((n, hidden), names), g.input((n, hidden), names)
    gates, state = (n, 4 * hidden), (n, hidden)

    def linear(v, k):
        scale = 1 / np.sqrt(k)
        if rng.random() < 0.5:
            return g.add("Gemm", [v, g.normal([4 * hidden, k], scale), g.normal([4 * hidden])], gates, transB=1)
        y = g.add("MatMul", [v, g.normal([k, 4 * hidden], scale)], gates)
        return g.add("Add", [g.normal([4 * hidden]), y], gates) if rng.random() < 0.5 else y

    for _ in range(rng.choice([1, 1, 2])):
        z = g.add("Add", [linear(h, hidden), linear(x, width)] if rng.random() < 0.5 else [linear(x, width), linear(h, hidden)], gates)
        if rng.random() < 0.5:
            parts = [g.name() for _ in range(4)]
            g.nodes.append(helper.make_node("Split", [z, g.ints([hidden] * 4)], parts, axis=1))
            g.used.add(z)
            g.shapes.update(dict.fromkeys(parts, state))
        else:
            parts = [g.add("Slice", [z, g.ints([i * hidden]), g.ints([(i + 1) * hidden]), g.ints([1])], state) for i in range(4)]
        rng.shuffle(parts)
        i, f, o = (g.add("Sigmoid", [p], state) for p in parts[:3])
        kept, fresh = g.add("Mul", [f, c], state), g.add("Mul", [i, g.add("Tanh", [parts[3]], state)], state)
        c = g.add("Add", [kept, fresh] if rng.random() < 0.5 else [fresh, kept], state)
        h = g.add("Mul", [o, g.add("Tanh", [c], state)], state)
    return g.model([c])


# --------------------------------------------------------------------- residual sums with a normalization beside
def build_preactivation(g):
    rng = g.rng
    c, size = rng.choice([4, 8, 20]), rng.choice([5, 8])
    x = g.input((2, c, size, size), ["n" if rng.random() < 0.5 else None, None, None, None])
    shape = (2, c, size, size)

    def conv(v):
        k = rng.choice([1, 3])
        return g.add("Conv", [v, g.normal([c, c, k, k], 1 / np.sqrt(c * k * k))], shape, pads=[k // 2] * 4)

    y = conv(x)
    for _ in range(rng.choice([1, 2, 3])):
        variance = g.const((g.data.random(c) + 0.5).astype(g.dtype))
        v = g.add("BatchNormalization", [y, g.normal([c]), g.normal([c]), g.normal([c]), variance], shape)
        v = conv(g.add("Relu", [v], shape))
        if rng.random() < 0.5:
            v = conv(g.add("Relu", [v], shape))
        y = g.add("Add", [y, v] if rng.random() < 0.5 else [v, y], shape)
    return g.model([])


# --------------------------------------------------------------------- equal constants, padding
def build_equal_constants(g):
    """merge-constants: the same matrix under several names, and matrices that only look alike."""
    rng, n = g.rng, 16
    x = g.input((3, n), [None, None])
    w = g.data.standard_normal((n, n)).astype(g.dtype)
    near = w.copy()
    near[rng.randrange(n), rng.randrange(n)] += 1
    ys = [g.add("MatMul", [x, g.const(rng.choice([w, w, near, -w, w.T]))], (3, n)) for _ in range(rng.randrange(2, 6))]
    y = ys[0]
    for other in ys[1:]:
        y = g.add(rng.choice(["Add", "Sub"]), [g.add("Tanh", [y], (3, n)), other], (3, n))
    return g.model([])


def build_pad(g):
    """fold-pad: pads of any value and amount before convolutions and pools that have their own."""
    rng = g.rng
    c, size = rng.choice([1, 4]), 7
    x = g.input((1, c, size, size), ["n" if rng.random() < 0.3 else None, None, None, None])
    amounts = [rng.choice([0, 1, 2]) for _ in range(4)]
    value = rng.choice([0, 0, 0, 1, -0.5])
    h, w = size + amounts[0] + amounts[2], size + amounts[1] + amounts[3]
    mode = rng.choice(["constant", "constant", "constant", "reflect", "edge"])
    pads = g.ints([0, 0] + amounts[:2] + [0, 0] + amounts[2:])
    y = g.add("Pad", [x, pads] + ([g.number(value)] if mode == "constant" else []), (1, c, h, w), mode=mode)
    own = [rng.choice([0, 1]) for _ in range(4)]
    out = [s + a + b - 2 for s, a, b in ((h, own[0], own[2]), (w, own[1], own[3]))]
    kind = rng.choice(["Conv", "AveragePool", "MaxPool"])
    if kind == "Conv":
        y = g.add(kind, [y, g.normal([3, c, 3, 3])], (1, 3, *out), pads=own)
    else:
        more = {"count_include_pad": rng.choice([0, 1])} if kind == "AveragePool" else {}
        y = g.add(kind, [y], (1, c, *out), kernel_shape=[3, 3], pads=own, **more)
    return g.model([])


# What an optimized graph must hold, as (operation, least, most); None: what the builder says for this one.
KINDS = {"rotary": (build_rotary, [("rotary", 1, 1), ("neg", 0, 0), ("slice", 0, 0), ("map", 0, 1)]),
         "experts": (build_experts, None),
         "LSTM cell": (build_lstm_cell, [("lstm", 1, 2), ("matmul", 0, 0), ("map", 0, 0), ("sigmoid", 0, 0)]),
         "recurrent": (recurrent.build, [("lstm|gru", 1, 1), ("matmul", 0, 0), ("loop", 0, 0), ("map", 0, 0), ("concat", 0, 0)]),
         "normalization": (spellings.build_norm, None),
         "stream": (spellings.build_stream, None),
         "recurrent norm": (spellings.build_recurrent_norm, None),
         "one head": (spellings.build_one_head, None),
         "preactivation": (build_preactivation, [("map", 0, 0), ("batch_norm", 0, 0)]),
         "equal constants": (build_equal_constants, []),
         "pad": (build_pad, [])}


EXPECTED = []  # of the model that was made last


def recognized(kind, model, folder):
    text = numeric.optimized(folder)
    for name, least, most in EXPECTED.pop() if KINDS[kind][1] is None else KINDS[kind][1]:
        count = len(re.findall(rf"= nn\.(?:{name})\b", text))
        if not least <= count <= most:
            return f"{count} {name} instead of {least} to {most}"
    return None


def main():
    chosen = numeric.options(__doc__, 60, choices=KINDS)

    def make(rng):
        kind = chosen.only or rng.choice(list(KINDS))
        graph = numeric.Graph(rng, rng.choice([np.float32, np.float32, np.float64]))
        model = KINDS[kind][0](graph)
        EXPECTED[:] = [graph.expected] if KINDS[kind][1] is None else []
        return kind, graph, model

    return numeric.run(chosen, make, recognized)


if __name__ == "__main__":
    sys.exit(main())
