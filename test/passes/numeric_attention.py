#!/usr/bin/env python3
"""Random spellings of attention through the default passes: against --opt=0, and that it was recognized.

    numeric_attention.py [--seed=N] [--count=N] [--keep=DIR]

Each case is one attention layer between matrix products: heads split by reshape and transpose, out of one
product for q, k and v or three; the scale anywhere; added, chosen, causal or no masks; repeated key heads; a
cache of keys and values; one or many queries; fixed and dynamic sizes. The largest difference from --opt=0
relative to an output's scale may be 1e-5, 1e-12 for f64 models, and the optimized graph must hold exactly one
nn.attention. Ends with `N passed, N failed`.
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numeric


def build(g):
    """One layer: x [b, t, d] to [b, t, d]."""
    rng = g.rng
    b, t, width = rng.choice([1, 2]), rng.choice([1, 2, 3, 7, 19, 40]), rng.choice([4, 8, 16, 20])
    key_heads = rng.choice([1, 2, 3])
    group = rng.choice([1, 1, 2, 4])
    heads = key_heads * group
    d = heads * width
    dynamic = rng.random() < 0.5
    x = g.input((b, t, d), ["batch", "sequence", None] if dynamic else [None] * 3)
    past = rng.choice([0, 0, 5]) if group == 1 or rng.random() < 0.5 else 0
    keys = past + t

    def matrix(n, m):
        return g.normal([n, m], 1 / np.sqrt(n))

    def linear(v, n):
        y = g.add("MatMul", [v, matrix(d, n)], (b, t, n))
        return g.add("Add", [y, g.normal([n])], (b, t, n)) if rng.random() < 0.6 else y

    def split(v, n):
        """[b, t, n * width] as [b, n, t, width]."""
        y = g.add("Reshape", [v, g.ints([0, 0, n, width])], (b, t, n, width))
        return g.add("Transpose", [y], (b, n, t, width), perm=[0, 2, 1, 3])

    def packed():
        """q, k and v out of one product, as ViT or as GPT-2 takes them apart."""
        y = linear(x, 3 * d)
        if rng.random() < 0.5:
            y = g.add("Reshape", [y, g.ints([0, 0, 3, heads, width])], (b, t, 3, heads, width))
            y = g.add("Transpose", [y], (3, b, heads, t, width), perm=[2, 0, 3, 1, 4])
            return [g.add("Gather", [y, g.const(np.int64(i))], (b, heads, t, width), axis=0) for i in range(3)]
        parts = []
        for i in range(3):
            part = g.add("Slice", [y, g.ints([i * d]), g.ints([(i + 1) * d]), g.ints([2])], (b, t, d))
            parts.append(split(part, heads))
        return parts

    if group == 1 and rng.random() < 0.5:
        q, k, v = packed()
    else:
        q, k, v = split(linear(x, d), heads), split(linear(x, key_heads * width), key_heads), \
            split(linear(x, key_heads * width), key_heads)
    if past:
        symbols = ["batch", None, "past", None] if dynamic else [None] * 4
        k, v = (g.add("Concat", [g.input((b, key_heads, past, width), symbols), now], (b, key_heads, keys, width), axis=2)
                for now in (k, v))
    if group > 1:
        def repeat(v):
            y = g.add("Unsqueeze", [v, g.ints([2])], (b, key_heads, 1, keys, width))
            y = g.add("Expand", [y, g.ints([1, 1, group, 1, 1])], (b, key_heads, group, keys, width))
            return g.add("Reshape", [y, g.ints([0, heads, -1, width])], (b, heads, keys, width))
        k, v = repeat(k), repeat(v)
    return layer(g, q, k, v, b, heads, t, keys, width, d)


def mask_of(g, scores, shape):
    """A mask behind the scores. A table of fixed size only where sizes are fixed: else it may enlarge the scores."""
    rng = g.rng
    b, heads, t, keys = shape
    dynamic = bool(g.inputs[0].type.tensor_type.shape.dim[0].dim_param)
    kind = rng.randrange(5)
    low = rng.choice([-np.inf, -1e4, float(np.finfo(np.float32).min)])
    if kind == 0:
        return scores
    if kind == 1 and not dynamic:  # A triangle, of the last queries.
        table = np.triu(np.full((t, keys), low), keys - t + 1)
        return g.add("Add", [scores, g.const(table.astype(g.dtype))], shape)
    # Padding: the first key always takes part.
    inside = g.input((b, 1, 1, keys), ["batch" if dynamic else None, None, None, None])
    positive = g.add("Greater", [inside, g.number(-0.3)], (b, 1, 1, keys))
    first = g.const((np.arange(keys) == 0).reshape(1, 1, 1, keys))
    chosen = g.add("Or", [positive, first], (b, 1, 1, keys))
    if kind == 2:
        return g.add("Where", [chosen, scores, g.number(low)], shape)
    if kind == 3:
        return g.add("Where", [g.add("Not", [chosen], (b, 1, 1, keys)), g.number(low), scores], shape)
    added = g.add("Where", [chosen, g.number(0), g.number(low)], (b, 1, 1, keys))
    y = g.add("Add", [added, scores], shape)
    if rng.random() < 0.5 and not dynamic:
        y = g.add("Add", [y, g.normal([heads, t, keys])], shape)
    return y


def layer(g, q, k, v, b, heads, t, keys, width, d):
    rng = g.rng
    shape = (b, heads, t, keys)
    kt = g.add("Transpose", [k], (b, heads, width, keys), perm=[0, 1, 3, 2])
    place = rng.randrange(4)
    if place in (1, 3):
        q = g.add("Mul", [q, g.number(0.6)], g.shapes[q])
    if place in (2, 3):
        kt = g.add("Div", [kt, g.number(1.7)], g.shapes[kt])
    s = g.add("MatMul", [q, kt], shape)
    if place == 0:
        s = g.add("Mul", [g.number(0.35), s], shape)
    s = mask_of(g, s, shape)
    p = g.add("Softmax", [s], shape, axis=-1)
    if rng.random() < 0.3:
        p = g.add("Where", [g.add("IsNaN", [p], shape), g.number(0), p], shape)
    y = g.add("MatMul", [p, v], (b, heads, t, width))
    y = g.add("Transpose", [y], (b, t, heads, width), perm=[0, 2, 1, 3])
    y = g.add("Reshape", [y, g.ints([0, 0, d])], (b, t, d))
    if rng.random() < 0.7:
        y = g.add("MatMul", [y, g.normal([d, d], 1 / np.sqrt(d))], (b, t, d))
    return g.model([v] if rng.random() < 0.2 else [])


def recognized(kind, model, folder):
    found = numeric.optimized(folder).count("= nn.attention ")
    return None if found == 1 else f"{found} attentions recognized"


def make(rng):
    graph = numeric.Graph(rng, rng.choice([np.float32, np.float32, np.float64]))
    return "attention", graph, build(graph)


if __name__ == "__main__":
    sys.exit(numeric.run(numeric.options(__doc__, 40, choices=["attention"]), make, recognized))
