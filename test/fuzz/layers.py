"""Random cases of the layers of sequence models, of losses and optimizers."""
import numpy as np
from onnx import TensorProto

from draw import single
from operators import recipe


def maybe(d, value, probability=0.5):
    return value if d.chance(probability) else None


def outputs_of(d, count):
    """Which of the optional outputs a node has."""
    kept = [int(d.chance(0.7)) for _ in range(count)]
    if not any(kept):
        kept[d.randrange(count)] = 1
    while not kept[-1]:
        kept.pop()
    return kept


@recipe("RNN", "GRU", "LSTM")
def recurrent(d, schema, opset):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[schema.name]
    kind, steps, batch = d.type(schema), d.randint(1, 6), d.choice([1, 2, 3, 5])
    inner, hidden = d.choice([1, 3, 8]), d.choice([1, 2, 5, 8, 16])
    direction = d.choice([None, "forward", "reverse", "bidirectional"])
    n, layout = 2 if direction == "bidirectional" else 1, d.choice([None, None, 0, 1])
    swap = layout == 1 and "layout" in schema.attributes

    def small(*shape):
        return d.ordinary(shape, kind, -1, 1)

    x = small(batch, steps, inner) if swap else small(steps, batch, inner)
    state = [batch, n, hidden] if swap else [n, batch, hidden]
    operands = [x, small(n, gates * hidden, inner), small(n, gates * hidden, hidden),
                maybe(d, small(n, 2 * gates * hidden)),
                maybe(d, d.values([batch], np.int32, 1, steps)), maybe(d, small(*state))]
    named = {"direction": direction, "hidden_size": hidden, "layout": layout, "clip": maybe(d, 0.5, 0.15),
             "output_sequence": 1}
    if schema.name == "LSTM":
        operands += [maybe(d, small(*state)), maybe(d, small(n, 3 * hidden), 0.3)]
        named["input_forget"] = maybe(d, d.choice([0, 1]), 0.1)
    if schema.name == "GRU":
        named["linear_before_reset"] = d.choice([None, 0, 1])
    if d.chance(0.25):
        one = [d.choice(["Tanh", "Sigmoid", "Relu", "Softsign", "Softplus"])
               for _ in range({"RNN": 1, "GRU": 2, "LSTM": 3}[schema.name])]
        named["activations"] = one * n
    return single(d, schema, opset, operands, outputs_of(d, len(schema.outputs)), constant=("w", "r", "b", "p"),
                  loose=10, **named)


@recipe("Attention")
def attention(d, schema, opset):
    kind, batch, queries, keys = d.type(schema), d.choice([1, 2, 3]), d.randint(1, 9), d.randint(1, 9)
    size, value_size, heads = d.choice([1, 4, 8, 16]), d.choice([1, 4, 8, 17]), d.choice([1, 2, 3])
    packed = d.chance(0.5)
    group = d.choice([1, 1, 2, 3])
    past = d.randint(1, 5) if d.chance(0.3) else 0
    total = past + keys

    def of(count, length, width):
        return d.ordinary([batch, length, count * width] if packed else [batch, count, length, width], kind)

    mask = None
    if d.chance(0.5):
        shape = d.choice([[queries, total], [1, total], [1, 1, queries, total], [batch, 1, queries, total],
                          [batch, heads * group, queries, total]])
        mask = d.ordinary(shape, d.choice([np.bool_, kind]))
    history = [d.ordinary([batch, heads, past, width], kind) for width in (size, value_size)] if past else [None, None]
    operands = [of(heads * group, queries, size), of(heads, keys, size), of(heads, keys, value_size), mask] + history
    present = int(bool(past))
    if schema.since_version >= 24 and not past and d.chance(0.3):
        operands.append(d.values([batch], np.int64, 1, keys))
    outputs = d.choice([[1], [1], [1, present, present], [1, present, present, 1]])
    while not outputs[-1]:
        outputs.pop()
    return single(d, schema, opset, operands, outputs, loose=10, scale=d.choice([None, 0.5]),
                  softcap=d.choice([None, None, 2.0]),
                  is_causal=d.choice([None, 0, 1]), qk_matmul_output_mode=d.choice([None, 0, 1, 2, 3]),
                  softmax_precision=d.choice([None, None, TensorProto.FLOAT]),
                  q_num_heads=heads * group if packed else None,
                  kv_num_heads=heads if packed else None, left_window_size=maybe(d, d.randint(-1, 4), 0.3),
                  right_window_size=maybe(d, d.randint(-1, 4), 0.3))


@recipe("LinearAttention")
def linear_attention(d, schema, opset):
    kind, batch, steps, heads = d.type(schema), d.choice([1, 2]), d.randint(1, 6), d.choice([1, 2, 3])
    group = d.choice([1, 2])
    size, width = d.choice([1, 4, 8]), d.choice([1, 4, 6])
    rule = d.choice(["linear", "gated", "delta", "gated_delta", None])

    def small(*shape):
        return d.ordinary(shape, kind, -0.5, 0.5)

    gated, delta = rule in ("gated", "gated_delta", None), rule in ("delta", "gated_delta", None)
    operands = [small(batch, steps, heads * group * size), small(batch, steps, heads * size),
                small(batch, steps, heads * width),
                maybe(d, small(batch, heads, size, width)),
                -np.abs(small(batch, steps, heads * d.choice([1, size]))) if gated else None,
                np.abs(small(batch, steps, d.choice([1, heads]))) if delta else None]
    return single(d, schema, opset, operands, 2, loose=10, q_num_heads=heads * group, kv_num_heads=heads,
                  update_rule=rule,
                  scale=d.choice([None, 0.0, 0.7]), chunk_size=d.choice([None, 2]))


@recipe("CausalConvWithState")
def causal_conv(d, schema, opset):
    kind, batch, channels, length = d.type(schema), d.choice([1, 2]), d.choice([1, 3, 8]), d.randint(1, 9)
    k = d.randint(1, 4)
    operands = [d.ordinary([batch, channels, length], kind), d.ordinary([channels, 1, k], kind),
                maybe(d, d.ordinary([channels], kind)),
                maybe(d, d.ordinary([batch, channels, k - 1], kind))]
    return single(d, schema, opset, operands, 2, constant=("weight", "bias"), loose=10,
                  activation=d.choice([None, "none", "silu", "swish"]))


@recipe("RotaryEmbedding")
def rotary(d, schema, opset):
    kind, batch, heads, steps = d.type(schema), d.choice([1, 2]), d.choice([1, 2, 3]), d.randint(1, 6)
    size = d.choice([2, 4, 8, 16])
    part = d.choice([None, 0, size // 2 // 2 * 2]) or size
    packed, positions = d.chance(0.5), d.chance(0.5)
    most = steps + d.randint(0, 3)
    table = [most, part // 2] if positions else [batch, steps, part // 2]
    x = d.ordinary([batch, steps, heads * size] if packed else [batch, heads, steps, size], kind)
    operands = [x, d.ordinary(table, kind, -1, 1), d.ordinary(table, kind, -1, 1)]
    if positions:
        operands.append(d.values([batch, steps], np.int64, 0, most - 1))
    return single(d, schema, opset, operands, num_heads=heads if packed or part != size else None,
                  interleaved=d.choice([None, 0, 1]),
                  rotary_embedding_dim=part if part != size else d.choice([None, 0]))


@recipe("TensorScatter")
def tensor_scatter(d, schema, opset):
    cache = [max(1, s) for s in d.shape(2)]
    axis = d.randrange(1, len(cache))
    most = cache[axis]
    update, mode = list(cache), d.choice([None, "linear", "circular"])
    update[axis] = d.randint(1, most)
    kind = d.type(schema)
    indices = d.values([cache[0]], np.int64, 0, most - 1 if mode == "circular" else most - update[axis])
    if axis != len(cache) - 2 or d.chance(0.3):
        axis -= d.choice([0, len(cache)])
    else:
        axis = None
    return single(d, schema, opset, [d.values(cache, kind), d.values(update, kind), maybe(d, indices, 0.8)], axis=axis,
                  mode=mode)


@recipe("Dropout")
def dropout(d, schema, opset):
    """As inference has it."""
    x, ratio = d.values(d.shape(), d.type(schema)), maybe(d, 0.3)
    if schema.since_version >= 12:
        ratio = ratio and np.array(ratio, np.float32)
    named = {"training_mode": maybe(d, np.array(False))} if schema.since_version >= 12 else {"is_test": 1}
    # Before opset 10 the mask was a float of no stated value.
    outputs = 2 if schema.since_version >= 10 and d.chance(0.5) else 1
    return single(d, schema, opset, [x], outputs, constant=("training_mode", "ratio"), ratio=ratio, **named)


# --------------------------------------------------------------------- losses and optimizers
@recipe("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(d, schema, opset):
    kind, classes = d.type(schema), d.randint(1, 6)
    rest = [d.choice([1, 2, 4]) for _ in range(d.randint(0, 2))]
    batch, labels = d.randint(1, 4), d.choice([np.int32, np.int64])
    target = d.values([batch] + rest, labels, 0, classes - 1)
    ignore = None
    if d.chance(0.5):
        ignore = d.choice([-1, 0, classes - 1])
        target[d.data.random(target.shape) < 0.3] = ignore
        target.reshape(-1)[0] = (ignore + 1) % classes  # a mean over nothing is not defined
    operands = [d.ordinary([batch, classes] + rest, kind), target, maybe(d, d.ordinary([classes], kind, 0.1, 2))]
    outputs = 2 if schema.name.startswith("Softmax") and d.chance(0.5) else 1
    return single(d, schema, opset, operands, outputs, loose=10, reduction=d.choice([None, "none", "sum", "mean"]),
                  ignore_index=ignore)


@recipe("Adam", "Adagrad", "Momentum")
def optimizer(d, schema, opset):
    kind = d.choice([np.float32, np.float64])
    shapes = [d.shape() for _ in range(d.randint(1, 2))]
    states = {"Adam": 2, "Adagrad": 1, "Momentum": 1}[schema.name]
    operands = [np.array(0.1, kind), np.array(d.randint(0, 3), np.int64)]
    for part in range(2 + states):  # values, gradients, then what the algorithm keeps
        operands += [d.ordinary(s, kind, 0.1, 1) for s in shapes]
    named = {"norm_coefficient": d.choice([0.0, 0.01])}
    if schema.name == "Momentum":
        named.update(alpha=0.9, beta=d.choice([0.5, 1.0]), mode=d.choice(["standard", "nesterov"]))
    elif schema.name == "Adam":
        named.update(alpha=d.choice([None, 0.8]), beta=d.choice([None, 0.9]), epsilon=d.choice([None, 1e-2]),
                     norm_coefficient_post=d.choice([None, 0.1]))
    else:
        named.update(decay_factor=d.choice([None, 0.1]), epsilon=d.choice([None, 1e-2]))
    return single(d, schema, opset, operands, len(shapes) * (1 + states), loose=10, **named)


# --------------------------------------------------------------------- quantized
def scale_of(d, shape, kind=np.float32):
    """Powers of two: quotients are exact, and halves are halves everywhere."""
    return np.exp2(d.data.integers(-5, 2, tuple(shape))).astype(kind)


@recipe("QLinearMatMul")
def quantized_matmul(d, schema, opset):
    k, batch = d.randint(1, 17), d.shape(0, 2)
    a, b = batch + [d.randint(1, 9), k], d.broadcast(batch) + [k, d.randint(1, 9)]
    known = ("int8", "uint8")
    kinds = [d.type(schema, i, only=known) for i in (0, 3, 7)]
    real = np.float32 if schema.since_version < 21 else d.choice([np.float32, np.float32, np.float16])
    # A scale for each row of the left, each column of the right.
    rows, columns = [a[-2]] if d.chance(0.2) and not batch else [], [b[-1]] if d.chance(0.3) and len(b) == 2 else []
    operands = [d.values(a, kinds[0]), scale_of(d, rows, real), d.values(rows, kinds[0]), d.values(b, kinds[1]),
                scale_of(d, columns, real), d.values(columns, kinds[1]), scale_of(d, [], real) * 16,
                d.values([], kinds[2], 0, 10) * kinds[2](2)]
    # (An even zero point, as the reference adds it before it rounds.)
    return single(d, schema, opset, operands, constant=[i.name.lower() for i in schema.inputs[1:]])


@recipe("QLinearConv")
def quantized_conv(d, schema, opset):
    from operators import image, window
    d.empty = False
    sizes, group = image(d), d.choice([1, 1, 1, 2, 3])
    c, m = group * d.choice([1, 2, 3, 8]), group * d.choice([1, 2, 3, 8])
    named = window(d, sizes)
    kinds = [d.type(schema, i) for i in (0, 3, 7)]
    channels = [m] if d.chance(0.5) else []
    zeros = np.zeros(channels, kinds[1]) if channels else d.values([], kinds[1])
    operands = [d.values([d.choice([1, 2]), c] + sizes, kinds[0]), scale_of(d, []), d.values([], kinds[0]),
                d.values([m, c // group] + named["kernel_shape"], kinds[1]), scale_of(d, channels), zeros,
                scale_of(d, []) * 16,
                d.values([], kinds[2]), maybe(d, d.ordinary([m], np.int32))]
    return single(d, schema, opset, operands, group=group if group > 1 else None,
                  constant=("x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "b"),
                  **named)
