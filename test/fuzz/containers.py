"""Random cases of sequences, optionals, texts, and control flow."""
import numpy as np
from onnx import TensorProto, helper

from draw import PLAIN, Typed, single, type_of
from operators import recipe

KINDS = sorted(n for n in PLAIN if n not in ("uint16", "int16"))


def sequence(d, kind, low=1, shape=None):
    """Arrays of a type; of other shapes, unless one is given."""
    rank = d.randint(0, 3)
    return [d.values(shape or d.shape(rank, rank), kind) for _ in range(d.randint(low, 4))]


def operand(values, kind):
    return values if values else Typed([], sequence_of(kind))


def sequence_of(kind):
    return helper.make_sequence_type_proto(type_of(np.zeros(0, kind), "any"))


def position(d, low, high):
    return np.array(d.randint(low, high), d.choice([np.int32, np.int64]))


# --------------------------------------------------------------------- sequences
@recipe("SequenceConstruct")
def sequence_construct(d, schema, opset):
    kind = d.type(schema, only=KINDS)
    return single(d, schema, opset, sequence(d, kind), results=[sequence_of(kind)])


@recipe("SequenceEmpty")
def sequence_empty(d, schema, opset):
    kind = np.dtype(PLAIN[d.choice(KINDS)])
    code = helper.np_dtype_to_tensor_dtype(kind)
    return single(d, schema, opset, [], dtype=None if kind == np.float32 and d.chance(0.5) else code,
                  results=[sequence_of(kind)])


@recipe("SequenceAt", "SequenceErase", "SequenceInsert", "SequenceLength")
def sequence_edit(d, schema, opset):
    kind, op = d.type(schema, only=KINDS), schema.name
    values = sequence(d, kind, 1 if op in ("SequenceAt", "SequenceErase") else 0)
    n = len(values)
    if op == "SequenceLength":
        return single(d, schema, opset, [operand(values, kind)])
    if op == "SequenceAt":
        return single(d, schema, opset, [values, position(d, -n, n - 1)])
    at = [position(d, -n, n - 1 if op == "SequenceErase" else n)] if d.chance(0.7) else []
    new = [d.values(d.shape() if not values else values[0].shape, kind)] if op == "SequenceInsert" else []
    return single(d, schema, opset, [operand(values, kind)] + new + at, results=[sequence_of(kind)])


@recipe("ConcatFromSequence")
def concat_from_sequence(d, schema, opset):
    kind, new = d.type(schema, only=KINDS), d.choice([None, 0, 1])
    shape = d.shape(0 if new else 1, 3)
    values = [d.values(shape, kind) for _ in range(d.randint(1, 4))]
    axis = d.axis(len(shape) + (1 if new else 0))
    if not new and d.chance(0.5):
        values = [np.take(v, range(d.randint(0, v.shape[axis])), axis=axis) for v in values]
    return single(d, schema, opset, [values], axis=axis, new_axis=new)


@recipe("SplitToSequence")
def split_to_sequence(d, schema, opset):
    kind = d.type(schema, only=KINDS)
    x = d.values([max(1, s) for s in d.shape(1, 3)], kind)
    axis = d.axis(x.ndim)
    n, index = x.shape[axis], d.choice([np.int32, np.int64])
    split = None
    if d.chance(0.7):
        cuts = sorted(d.randint(0, n) for _ in range(d.randint(0, 3)))
        split = np.array(d.randint(1, n) if d.chance(0.4) else np.diff([0] + cuts + [n]), index)
    return single(d, schema, opset, [x, split], constant=("split",), axis=axis if axis or d.chance(0.5) else None,
                  keepdims=d.choice([None, 0, 1]) if split is None else None, results=[sequence_of(kind)])


@recipe("SequenceMap")
def sequence_map(d, schema, opset):
    kind, shape = d.choice([np.float32, np.int64]), d.shape(0, 2)
    first = sequence(d, kind, 1, shape)
    more = d.choice(["none", "tensor", "sequence"])
    value = lambda name: helper.make_value_info(name, type_of(np.zeros(shape, kind)))
    nodes = [helper.make_node("Add", ["a", "b" if more != "none" else "a"], ["c"])]
    if two := d.chance(0.4):
        nodes.append(helper.make_node("Neg", ["a"], ["n"]))
    body = helper.make_graph(nodes, "body", [value("a")] + ([value("b")] if more != "none" else []),
                             [value(n) for n in ["c", "n"][:1 + two]])
    other = {"none": [], "tensor": [d.values(shape, kind)], "sequence": [[d.values(shape, kind) for _ in first]]}[more]
    return single(d, schema, opset, [first] + other, 1 + two, body=body, results=[sequence_of(kind)] * (1 + two))


# --------------------------------------------------------------------- optionals
@recipe("Optional", "OptionalHasElement", "OptionalGetElement")
def optional(d, schema, opset):
    kind, as_sequence = d.choice([np.float32, np.int64, np.bool_]), d.chance(0.3)
    value = sequence(d, kind) if as_sequence else d.values(d.shape(), kind)
    inner = sequence_of(kind) if as_sequence else type_of(value)
    of = helper.make_optional_type_proto(inner)
    if schema.name == "Optional":
        if d.chance(0.3):
            return single(d, schema, opset, [], type=inner, results=[of])
        return single(d, schema, opset, [value], results=[of])
    if schema.since_version >= 18 and d.chance(0.4):
        operands = [value] if schema.name == "OptionalGetElement" or d.chance(0.7) else []
    else:
        empty = schema.name == "OptionalHasElement" and d.chance(0.4)
        operands = [Typed(None if empty else value, of)]
    return single(d, schema, opset, operands, results=[inner if as_sequence and schema.name == "OptionalGetElement"
                                                       else None])


# --------------------------------------------------------------------- texts
@recipe("StringConcat")
def string_concat(d, schema, opset):
    shape = d.shape(0, 3)
    return single(d, schema, opset, d.sample([d.words(shape), d.words(d.broadcast(shape))], 2))


@recipe("StringSplit")
def string_split(d, schema, opset):
    return single(d, schema, opset, [d.words(d.shape(0, 2))], 2, delimiter=d.choice([None, "", " ", ",", "ab", "b"]),
                  maxsplit=d.choice([None, 1, 2]))


@recipe("StringNormalizer")
def string_normalizer(d, schema, opset):
    n, of = max(1, d.size()), ["a", "B", "ab", "Zoe", "one", "OUT", ""]
    return single(d, schema, opset, [d.words([n] if d.chance(0.6) else [1, n], of)],
                  case_change_action=d.choice([None, "NONE", "LOWER", "UPPER"]),
                  is_case_sensitive=d.choice([None, 0, 1]), locale="C",
                  stopwords=d.choice([None, ["a", "zoe"], ["B", "ab", "one"], of]))


@recipe("RegexFullMatch")
def regex(d, schema, opset):
    pattern = d.choice(["a*b?", r"\d+", "[a-z ]+", ".*", r"(one|ab)( \w+)*", r"-?\d+(\.\d+)?", r"\s*\S+\s*", "[^,]*",
                        "(?i)B", ""])
    return single(d, schema, opset, [d.words(d.shape(0, 3))], pattern=pattern)


@recipe("TfIdfVectorizer")
def tf_idf(d, schema, opset):
    words, low, high = d.chance(0.4), d.randint(1, 2), d.randint(2, 3)
    pool, starts = [], []
    for n in range(1, high + 1):
        starts.append(len(pool))
        grams = {tuple(d.choice(["a", "b", "c"] if words else [1, 2, 3]) for _ in range(n))
                 for _ in range(d.randint(1, 3))}
        pool += [item for gram in sorted(grams) for item in gram]
    count = sum((e - s) // (i + 1) for i, (s, e) in enumerate(zip(starts, starts[1:] + [len(pool)])))
    shape = [d.randint(1, 8)] if d.chance(0.5) else [d.randint(1, 3), d.randint(1, 8)]
    x = d.words(shape, ["a", "b", "c", "d"]) if words else d.values(shape, d.choice([np.int32, np.int64]), 1, 4)
    weights = [float(np.float32(d.uniform(0.1, 2))) for _ in range(count)] if d.chance(0.6) else None
    return single(d, schema, opset, [x], mode=d.choice(["TF", "IDF", "TFIDF"]), min_gram_length=low,
                  max_gram_length=high,
                  max_skip_count=d.randint(0, 3), ngram_counts=starts, ngram_indexes=d.sample(range(count), count),
                  **{"pool_strings" if words else "pool_int64s": pool}, weights=weights)


# --------------------------------------------------------------------- control flow
def value(name, kind=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


@recipe("If")
def branches(d, schema, opset):
    """Sides that read values from outside, of equal or of other sizes, or are constants."""
    shape = d.shape(1, 3)
    x, y = d.values(shape, np.float32), d.values(shape, np.float32)
    count = d.randint(1, 2)
    sides, used = [], set()
    for side in ("then", "else"):
        nodes, ends = [], []
        for i in range(count):
            end, kind = f"{side}{i}", d.choice(["unary", "binary", "longer", "constant", "chain"])
            ends.append(value(end))
            if kind == "unary":
                nodes.append(helper.make_node(d.choice(["Relu", "Neg", "Identity"]), ["x"], [end]))
            elif kind == "binary":
                nodes.append(helper.make_node("Sub", ["x", "y"], [end]))
            elif kind == "longer":
                nodes.append(helper.make_node("Concat", ["y", "x"], [end], axis=0))
            elif kind == "chain":
                nodes += [helper.make_node("Abs", ["y"], [end + "a"]), helper.make_node("Sqrt", [end + "a"], [end])]
            else:
                nodes.append(helper.make_node("Constant", [], [end],
                                              value=helper.make_tensor("c", TensorProto.FLOAT, shape,
                                                                       np.ones(shape).ravel())))
            used.update(n for node in nodes for n in node.input)
        sides.append(helper.make_graph(nodes, side, [], ends))
    outer = {k: v for k, v in {"x": x, "y": y}.items() if k in used}
    condition = np.array(d.chance(0.5))
    return single(d, schema, opset, [condition if opset < 11 or d.chance(0.8) else condition.reshape(1)], count,
                  constant=(), outer=outer,
                  then_branch=sides[0], else_branch=sides[1])


@recipe("Loop")
def loop(d, schema, opset):
    """Ends by its count or its condition; carries a value that keeps its size or grows, and stacks others."""
    shape = [max(1, s) for s in d.shape(1, 2)]
    x, w = d.ordinary(shape, np.float32, -1, 1), d.ordinary(shape, np.float32, -1, 1)
    grows, carried, ends_early = d.chance(0.3), schema.min_input > 2 or d.chance(0.9), d.chance(0.5)
    stacks = d.randint(0 if carried else 1, 2)
    trips = d.randint(1 if stacks else 0, 5)  # nothing stacked has the shape of its elements, which peers do not know
    nodes, results = [], []
    source = "p" if carried else "w"
    if ends_early:
        limit = d.randint(0, 4)
        nodes += [helper.make_node("Constant", [], ["limit"],
                                   value=helper.make_tensor("l", TensorProto.INT64, [], [limit])),
                  helper.make_node("Less", ["i", "limit"], ["again"])]
    else:
        nodes.append(helper.make_node("Identity", ["go"], ["again"]))
    if carried:
        grow = helper.make_node("Concat", ["p", "w"], ["q"], axis=0)
        nodes.append(grow if grows else helper.make_node("Add", ["p", "w"], ["q"]))
        results.append(value("q"))
    for s in range(stacks):
        if s == 0 and not (carried and grows):
            nodes.append(helper.make_node("Tanh", [source], ["s0"]))
        else:
            nodes.append(helper.make_node("Identity" if opset < 14 else "Neg", ["i"], [f"s{s}"]))
        results.append(value(f"s{s}", TensorProto.FLOAT if s == 0 and not (carried and grows) else TensorProto.INT64))
    inputs = [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, [])] + ([value("p")] if carried else [])
    body = helper.make_graph(nodes, "body", inputs, [value("again", TensorProto.BOOL, [])] + results)
    count = np.array(trips, np.int64) if not ends_early or d.chance(0.7) else None
    go = np.array(bool(stacks) or d.chance(0.7)) if count is None or d.chance(0.5) else None
    outer = {"w": w} if any("w" in n.input for n in nodes) else {}
    return single(d, schema, opset, [count, go] + ([x] if carried else []), len(results), constant=("m", "cond"),
                  outer=outer, body=body)


@recipe("Scan")
def scan(d, schema, opset):
    """A running sum over one or two values, along any of their axes, in either direction."""
    steps, inner, count = d.randint(1, 5), [d.randint(1, 4)], d.randint(1, 2)
    old = schema.since_version < 9
    batch = [d.randint(1, 3)] if old else []
    axes = [0 if old else d.choice([0, 1]) for _ in range(count)]
    shapes = [batch + ([steps] + inner if a == 0 else inner + [steps]) for a in axes]
    nodes = [helper.make_node("Add", ["s", "a"], ["t"]),
             helper.make_node("Mul", ["t", "b" if count == 2 else "a"], ["y"])]
    body = helper.make_graph(nodes, "body", [value(n, TensorProto.FLOAT, inner) for n in ["s", "a", "b"][:1 + count]],
                             [value("t", shape=inner), value("y", shape=inner)])
    operands = [d.ordinary(batch + inner, np.float32, -1, 1)] + [d.ordinary(s, np.float32, -1, 1) for s in shapes]
    directions = [d.choice([0, 1]) for _ in range(count)] if d.chance(0.5) else None
    named = {"num_scan_inputs": count, "body": body, "directions": directions}
    if not old:
        out = d.choice([None, 0, 1])
        if schema.since_version >= 11:
            axes = [a - d.choice([0, 2]) for a in axes]
            out = out and out - d.choice([0, 2])
        named.update(scan_input_axes=axes if any(axes) or d.chance(0.3) else None, scan_input_directions=directions,
                     scan_output_axes=None if out is None else [out], scan_output_directions=d.choice([None, [0], [1]]))
    else:
        lengths = d.values(batch, np.int64, 1, steps) if d.chance(0.3) else None
        operands = [lengths] + operands
    return single(d, schema, opset, operands, 2, loose=10, **named)
