"""Random cases of single operators: elementwise ones, reductions, contractions, normalization, pooling."""
import numpy as np
from onnx import helper

from draw import NARROW, PLAIN, Skip, is_float, single

RECIPES = {}


def recipe(*names):
    def add(function):
        for name in names:
            RECIPES[name] = function
        return function
    return add


# --------------------------------------------------------------------- elementwise
ATTRIBUTES = {
    "LeakyRelu": {"alpha": (0, 1)}, "Elu": {"alpha": (0, 2)}, "Celu": {"alpha": (0.5, 2)}, "Swish": {"alpha": (0.5, 2)},
    "ThresholdedRelu": {"alpha": (-1, 2)}, "HardSigmoid": {"alpha": (0, 1), "beta": (0, 1)},
    "Selu": {"alpha": (0, 2), "gamma": (0, 2)}, "Shrink": {"lambd": (0, 2), "bias": (-1, 1)}}


@recipe("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Sqrt", "Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos",
        "Atan",
        "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh", "Erf", "Sigmoid", "Relu", "Softplus", "Softsign",
        "Reciprocal",
        "Mish", "HardSwish", "IsNaN", "Not", "BitwiseNot", "Identity", *ATTRIBUTES)
def unary(d, schema, opset):
    x = d.values(d.shape(), d.type(schema))
    named = {k: d.uniform(*v) for k, v in ATTRIBUTES.get(schema.name, {}).items() if d.chance(0.7)}
    return single(d, schema, opset, [x], **named)


@recipe("IsInf")
def is_inf(d, schema, opset):
    return single(d, schema, opset, [d.values(d.shape(), d.type(schema))], detect_negative=d.choice([None, 0, 1]),
                  detect_positive=d.choice([None, 0, 1]))


@recipe("Gelu")
def gelu(d, schema, opset):
    return single(d, schema, opset, [d.values(d.shape(), d.type(schema))], approximate=d.choice([None, "none", "tanh"]))


@recipe("Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
        "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Mod", "BitShift", "Pow", "PRelu", "SwiGLU")
def binary(d, schema, opset):
    kind, shape = d.type(schema), d.shape()
    a, b = (shape, d.broadcast(shape)) if d.chance(0.5) or schema.name == "PRelu" else (d.broadcast(shape), shape)
    if schema.name == "SwiGLU":
        b = a
    if schema.name == "Equal" and d.chance(0.4):
        x = d.values(a, kind, 0, 2)
    else:
        x = d.values(a, kind)
    named = {}
    if schema.name == "Pow":
        other = kind
        if schema.since_version >= 12 and d.chance(0.5):
            other = d.choice([np.float32, np.int32, np.int64, np.float64])
        y = d.values(b, other, 0, 3) if not is_float(other) or not is_float(kind) else d.values(b, other)
        return single(d, schema, opset, [x, y])
    y = d.values(b, kind)
    if schema.name in ("Div", "Mod") and not is_float(kind):
        y = np.where(y == 0, 3, y).astype(kind)
        if np.dtype(kind).kind == "i":  # the least integer has no negative
            y = np.where(y == -1, 1, y).astype(kind)
    if schema.name == "Mod":
        named["fmod"] = 1 if is_float(kind) else d.choice([0, 1, None])
    if schema.name == "BitShift":
        y = d.values(b, kind, 0, np.dtype(kind).itemsize * 8 - 1)
        named["direction"] = d.choice(["LEFT", "RIGHT"])
    if opset < 7:
        if a != b and (len(b) > len(a) or 1 in b):
            raise Skip  # the second alone broadcasts, and only sizes that are there
        named["broadcast"] = 1
    return single(d, schema, opset, [x, y], **named)


@recipe("Sum", "Max", "Min", "Mean")
def variadic(d, schema, opset):
    kind, shape = d.type(schema), d.shape()
    first = [d.values(shape, kind)]
    rest = [d.values(d.broadcast(shape) if schema.since_version >= 8 else shape, kind) for _ in range(d.randint(0, 3))]
    return single(d, schema, opset, d.sample(first + rest, len(rest) + 1))


@recipe("Where")
def where(d, schema, opset):
    shape = d.shape()
    kind = d.type(schema, 1)
    operands = [d.values(d.broadcast(shape), np.bool_), d.values(d.broadcast(shape), kind), d.values(shape, kind)]
    return single(d, schema, opset, operands)


@recipe("Clip")
def clip(d, schema, opset):
    kind = d.type(schema)
    low, high = (d.values([], kind) for _ in range(2))
    if schema.since_version < 11:
        low, high = (float(v) if np.isfinite(v.astype(np.float64)) else 1.0 for v in (low, high))
    return single(d, schema, opset, [d.values(d.shape(), kind)], constant=("min", "max"),
                  min=low if d.chance(0.7) else None,
                  max=high if d.chance(0.7) else None)


@recipe("Cast")
def cast(d, schema, opset):
    known = {**PLAIN, **{n: t for n, t in NARROW.items() if n not in ("int4", "uint4") or schema.since_version >= 21}}
    targets = [t[len("tensor("):-1] for t in schema.outputs[0].types]
    to = d.choice([t for t in targets if t in known])
    kind = d.type(schema)
    x = d.values(d.shape(), kind)
    if is_float(kind) and not is_float(known[to]):  # what does not fit is undefined
        with np.errstate(invalid="ignore"):
            x = np.nan_to_num(x.astype(np.float32), nan=1, posinf=2, neginf=-1)
            low = 0 if np.dtype(known[to]).kind == "u" or to == "uint4" else -8
            x = np.clip(x, low, 7).astype(kind)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(known[to]))
    return single(d, schema, opset, [x], to=int(code))


# --------------------------------------------------------------------- reductions
@recipe(*("Reduce" + k for k in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")))
def reduction(d, schema, opset):
    x = d.values(d.shape(), d.type(schema))
    if is_float(x.dtype):  # whether sums of extremes overflow on the way depends on their order
        with np.errstate(invalid="ignore"):
            x = np.where(np.isfinite(x) & (np.abs(x) > 1e3), 1, x).astype(x.dtype)
    if schema.name == "ReduceLogSum":
        x = np.abs(x)
    named = {"axes": d.axes(x.ndim, 0 if schema.since_version >= 13 else 1) if d.chance(0.7) and x.ndim else None,
             "keepdims": d.choice([None, 0, 1]), "noop_with_empty_axes": d.choice([None, 0, 1])}
    if named["axes"] == [] and "axes" in schema.attributes:
        named["axes"] = None
    return single(d, schema, opset, [x], constant=("axes",), **named)


@recipe("ArgMax", "ArgMin")
def arg_reduction(d, schema, opset):
    x = d.values(d.shape(1), d.type(schema))
    if is_float(x.dtype):
        x = np.nan_to_num(x)
    return single(d, schema, opset, [x], axis=d.choice([None, d.axis(x.ndim)]) if schema.since_version >= 11
                  else d.randrange(x.ndim),
                  keepdims=d.choice([None, 0, 1]), select_last_index=d.choice([None, 0, 1]))


@recipe("CumSum", "CumProd")
def cumulative(d, schema, opset):
    x = d.values(d.shape(1), d.type(schema))
    axis = np.array(d.axis(x.ndim), d.choice([np.int32, np.int64]))
    return single(d, schema, opset, [x, axis], constant=("axis",), exclusive=d.choice([None, 0, 1]),
                  reverse=d.choice([None, 0, 1]))


@recipe("Softmax", "LogSoftmax", "Hardmax")
def softmax(d, schema, opset):
    x = d.values(d.shape(1), d.type(schema))
    if schema.name == "Hardmax":
        x = np.nan_to_num(x)
    axis = d.axis(x.ndim)
    if schema.since_version < 11:
        axis %= x.ndim
    return single(d, schema, opset, [x], axis=axis if d.chance(0.7) or x.ndim < 2 else None)


@recipe("LpNormalization")
def lp_normalization(d, schema, opset):
    x = d.values(d.shape(1), d.type(schema))
    return single(d, schema, opset, [x], axis=d.choice([None, d.axis(x.ndim)]), p=d.choice([None, 1, 2]))


# --------------------------------------------------------------------- contractions
@recipe("MatMul", "MatMulInteger")
def matmul(d, schema, opset):
    k = d.size()
    batch = d.shape(0, 2)
    a, b = d.broadcast(batch) + [d.size(), k], d.broadcast(batch) + [k, d.size()]
    if d.chance(0.15):
        a = [k]
    elif d.chance(0.15):
        b = [k]
    kind = d.type(schema)
    if schema.name == "MatMulInteger":
        other = d.type(schema, 1)
        zeros = [d.values([], kind), d.values([], other)]
        operands = [d.values(a, kind), d.values(b, other)] + zeros[:d.randint(0, 2)]
        return single(d, schema, opset, operands)
    return single(d, schema, opset, [d.values(a, kind), d.values(b, kind)], constant=("b",), loose=10)


@recipe("Gemm")
def gemm(d, schema, opset):
    m, k, n, kind = d.size(), d.size(), d.size(), d.type(schema)
    d.awkward &= is_float(kind)  # alpha and beta are floats: what integers that overflow become is left open
    ta, tb = d.choice([None, 0, 1]), d.choice([None, 0, 1])
    a, b = [k, m] if ta else [m, k], [n, k] if tb else [k, n]
    c = d.broadcast([m, n])
    operands = [d.values(a, kind), d.values(b, kind)]
    if schema.since_version < 11 or d.chance(0.7):
        operands.append(d.values(c if schema.since_version >= 7 else [m, n], kind))
    scale = {"alpha": d.choice([None, 0.5, 2.0, 0.0]),
             "beta": d.choice([None, 0.5, 2.0, 0.0])} if is_float(kind) else {}
    return single(d, schema, opset, operands, constant=("b", "c"), loose=10, transA=ta, transB=tb, **scale)


EQUATIONS = ["ij,jk->ik", "ij,jk", "bij,bjk->bik", "i,i->", "i,j->ij", "ij->ji", "ii->i", "ii", "...ij,...jk->...ik",
             "bhqd,bhkd->bhqk",
             "ij->", "ij->i", "ijk,kl->ijl", "ij,ij->ij", "ij , jk -> ik", "ij,jk,kl->il", "...i->...", "abc->cab",
             "iij->j"]


@recipe("Einsum")
def einsum(d, schema, opset):
    equation = d.choice(EQUATIONS)
    sizes, kind = {c: d.size() for c in "abcdhijklqk"}, d.type(schema)
    leading = d.shape(0, 2)
    operands = []
    for term in equation.replace(" ", "").split("->")[0].split(","):
        shape = leading if term.startswith("...") else []
        operands.append(d.values(list(shape) + [sizes[c] for c in term.replace("...", "")], kind))
    return single(d, schema, opset, operands, loose=10, equation=equation)


def window(d, sizes, ceil=False):
    """kernel_shape, strides, dilations, pads of a window over these sizes."""
    kernel = [d.randint(1, min(4, max(1, s))) for s in sizes]
    dilations = [d.choice([1, 1, 1, 2]) for _ in sizes]
    dilations = [1 if (k - 1) * e + 1 > s else e for k, e, s in zip(kernel, dilations, sizes)]
    strides = [d.choice([1, 1, 2, 3]) for _ in sizes]
    named = {"kernel_shape": kernel}
    if d.chance(0.5):
        named["strides"] = strides
    if d.chance(0.4):
        named["dilations"] = dilations
    if d.chance(0.6):
        named["pads"] = [d.randint(0, k - 1) for k in kernel] + [d.randint(0, k - 1) for k in kernel]
    elif d.chance(0.4):
        named["auto_pad"] = d.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
        if named["auto_pad"].startswith("SAME"):
            named.pop("dilations", None)
    return named


def image(d, low=1, high=3):
    return [max(1, d.size()) if d.chance(0.3) else d.randint(3, 12) for _ in range(d.choice([1, 2, 2, 2, 3]))]


@recipe("Conv", "ConvInteger", "ConvTranspose")
def convolution(d, schema, opset):
    d.awkward = False  # whether 0 from padding times infinity is computed is left open
    sizes, kind = image(d), d.type(schema)
    groups = d.choice([1, 1, 1, 2, 3])
    c, m = groups * d.choice([1, 1, 2, 3, 8]), groups * d.choice([1, 1, 2, 3, 8, 16])
    named = window(d, sizes)
    kernel = named["kernel_shape"]
    if groups > 1 or d.chance(0.2):
        named["group"] = groups
    if d.chance(0.3):
        named.pop("kernel_shape")
    transposed = schema.name == "ConvTranspose"
    w = [c, m // groups] + kernel if transposed else [m, c // groups] + kernel
    n = d.choice([1, 1, 2]) if not d.empty else 0
    if transposed:
        if d.chance(0.3) and named.get("strides"):
            named["output_padding"] = [d.randint(0, s - 1) for s in named["strides"]]
        named.pop("auto_pad", None)
    if schema.name == "ConvInteger":
        other = d.type(schema, 1)
        operands = [d.values([n, c] + sizes, kind), d.values(w, other)]
        if d.chance(0.5):
            operands.append(d.values([], kind))
            if d.chance(0.5):
                operands.append(d.values([], other))
        return single(d, schema, opset, operands, constant=("w",), **named)
    operands = [d.values([n, c] + sizes, kind), d.values(w, kind)] + ([d.values([m], kind)] if d.chance(0.5) else [])
    return single(d, schema, opset, operands, constant=("w", "b"), loose=10, **named)


# --------------------------------------------------------------------- pooling
@recipe("MaxPool", "AveragePool", "LpPool")
def pooling(d, schema, opset):
    sizes = image(d)
    x = d.values([d.choice([1, 2]), d.choice([1, 3])] + sizes, d.type(schema))
    if schema.name == "MaxPool" and is_float(x.dtype):
        x = np.nan_to_num(x)
    named = window(d, sizes)
    if not named.get("auto_pad", "").startswith("SAME"):
        named["ceil_mode"] = d.choice([None, 0, 1])
    if schema.name == "LpPool":
        named["p"] = d.choice([None, 1, 2, 3])
    else:
        named["count_include_pad"] = d.choice([None, 0, 1])
    outputs = 1
    if schema.name == "MaxPool" and schema.since_version >= 8 and d.chance(0.3):
        outputs, named["storage_order"] = 2, d.choice([None, 0, 1])
    return single(d, schema, opset, [x], outputs, **named)


@recipe("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pooling(d, schema, opset):
    x = d.values([d.choice([1, 2]), d.choice([1, 3])] + image(d), d.type(schema))
    if schema.name == "GlobalMaxPool":
        x = np.nan_to_num(x)
    return single(d, schema, opset, [x], p=d.choice([None, 1, 2]))


# --------------------------------------------------------------------- normalization
@recipe("BatchNormalization")
def batch_normalization(d, schema, opset):
    kind, c = d.type(schema), d.choice([1, 2, 3, 8])
    x = d.values([d.choice([1, 2]), c] + (image(d) if d.chance(0.8) else []), kind)
    # What becomes of infinite parameters depends on whether they are combined first.
    parts = [d.ordinary([c], kind) for _ in range(3)] + [d.values([c], kind, 0.5, 2)]
    named = {"is_test": 1} if schema.since_version < 7 else {}
    return single(d, schema, opset, [x] + parts, constant=("scale", "b", "mean", "var", "input_mean", "input_var"),
                  epsilon=d.choice([None, 1e-3, 1e-2]), **named)


@recipe("InstanceNormalization")
def instance_normalization(d, schema, opset):
    kind, c = d.type(schema), d.choice([1, 2, 3, 8])
    x = d.values([d.choice([1, 2]), c] + image(d), kind)
    return single(d, schema, opset, [x, d.values([c], kind), d.values([c], kind)], loose=10,
                  epsilon=d.choice([None, 1e-3]))


@recipe("GroupNormalization")
def group_normalization(d, schema, opset):
    kind, groups = d.type(schema), d.choice([1, 2, 3])
    c = groups * d.choice([1, 2, 4])
    p = [groups if schema.since_version < 21 else c]
    x = d.values([d.choice([1, 2]), c] + image(d), kind)
    return single(d, schema, opset, [x, d.values(p, kind), d.values(p, kind)], loose=10, num_groups=groups,
                  epsilon=d.choice([None, 1e-3]))


@recipe("LayerNormalization", "RMSNormalization")
def layer_normalization(d, schema, opset):
    kind = d.type(schema)
    x = d.values(d.shape(1), kind)
    axis = d.axis(x.ndim)
    inner = x.shape[axis % x.ndim:]
    operands = [x, d.values(inner, kind)]
    if schema.name == "LayerNormalization" and d.chance(0.6):
        operands.append(d.values(inner, kind))
    return single(d, schema, opset, operands, loose=10, axis=axis, epsilon=d.choice([None, 1e-3]))


@recipe("MeanVarianceNormalization")
def mean_variance(d, schema, opset):
    x = d.values([2, 3] + image(d), d.type(schema))
    axes = sorted(d.sample(range(x.ndim), d.randint(1, x.ndim)))
    return single(d, schema, opset, [x], loose=10, axes=None if x.ndim == 4 and d.chance(0.5) else axes)


@recipe("LRN")
def lrn(d, schema, opset):
    x = d.values([d.choice([1, 2]), d.choice([1, 3, 8])] + image(d), d.type(schema))
    return single(d, schema, opset, [x], size=d.choice([1, 3, 5]), alpha=d.choice([None, 0.1]),
                  beta=d.choice([None, 0.5]),
                  bias=d.choice([None, 2.0]))
