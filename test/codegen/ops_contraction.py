"""Matrix products and convolutions of random shapes against float64 results of numpy.

    ops_contraction.py [--seed=N] [--count=N] [--only=KIND] [--target=CPU]

Every case is a small ONNX model that is compiled at --opt=0 (plain loops) and by default (fast kernels), for
sizes that are fixed and for sizes that are known only at run time. The largest error relative to the result's
scale may be 1e-5 (1e-12 for double). Exit code 1 if any case fails.
"""
import itertools
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402
import seeds  # noqa: E402

TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE}


class Case:
    """A model under construction: inputs with data, constants, nodes, and the expected result."""

    def __init__(self, rng, dtype):
        self.rng, self.dtype = rng, dtype
        self.data = np.random.default_rng(rng.randrange(1 << 30))
        self.inputs, self.feeds, self.constants, self.nodes = [], {}, [], []
        self.dynamic = rng.random() < 0.3
        self.text = ""

    def array(self, shape):
        return self.data.standard_normal(shape).astype(self.dtype)

    def input(self, name, shape, fixed=False):
        value = self.array(shape)
        dims = [f"{name}{i}" if self.dynamic and not fixed and self.rng.random() < 0.7 else d
                for i, d in enumerate(shape)]
        self.add_input(name, value, dims)
        return value

    def add_input(self, name, value, dims):
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[self.dtype], dims))
        self.feeds[name] = value

    def constant(self, name, shape):
        value = self.array(shape)
        self.constants.append(numpy_helper.from_array(value, name))
        return value

    def operand(self, name, shape, constant, fixed=False):
        return self.constant(name, shape) if constant else self.input(name, shape, fixed)

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def epilogue(self, name, want):
        """Random elementwise operations on the result, as exported models have them after contractions."""
        kinds = self.rng.sample(["relu", "residual", "scale", "sigmoid", "gelu", "none", "none"], 2)
        for i, kind in enumerate(kinds):
            after = f"e{i}"
            if kind == "relu":
                self.node("Relu", [name], after)
                want = np.maximum(want, 0)
            elif kind == "residual":
                shape = list(want.shape)
                if self.rng.random() < 0.4:
                    shape = [1 if self.rng.random() < 0.5 else d for d in shape]
                other = self.array(shape)
                self.add_input(f"r{i}", other, shape)
                self.node("Add", [name, f"r{i}"], after)
                want = want + other.astype(np.float64)
            elif kind == "scale":
                factor = self.constant(f"f{i}", [])
                self.node("Mul", [name, f"f{i}"], after)
                want = want * factor.astype(np.float64)
            elif kind == "sigmoid":
                self.node("Sigmoid", [name], f"s{i}")
                self.node("Mul", [name, f"s{i}"], after)
                want = want / (1 + np.exp(-want))
            elif kind == "gelu":
                self.node("Gelu", [name], after, approximate="tanh")
                want = 0.5 * want * (1 + np.tanh(np.sqrt(2 / np.pi) * (want + 0.044715 * want ** 3)))
            else:
                continue
            name = after
            self.text += f" {kind}"
        return name, want

    def save(self, path, name, want):
        self.want = want.astype(self.dtype)
        result = helper.make_tensor_value_info(name, TYPES[self.dtype], [None] * want.ndim)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
        onnx.save(model, path)


# --------------------------------------------------------------------- kinds of cases
def wide(values):
    return values.astype(np.float64)


def matmul(case):
    rng = case.rng
    m, n, k = (rng.choice([1, 2, 3, 7, 8, 13, 17, 31, 64, 100, 130]) for _ in range(3))
    style = rng.choice(["2d", "rows", "batch", "broadcast", "vector", "gemm", "gemm"])
    constant = rng.random() < 0.6
    case.text = f"{style} {m}x{n}x{k}" + (" constant" if constant else "")
    if style == "gemm":
        ta, tb = rng.randrange(2), rng.randrange(2)
        a = case.input("a", [k, m] if ta else [m, k])
        b = case.operand("b", [n, k] if tb else [k, n], constant)
        case.text += f" {ta}{tb}"
        want = (wide(a).T if ta else wide(a)) @ (wide(b).T if tb else wide(b))
        inputs = ["a", "b"]
        if rng.random() < 0.7:
            shape = rng.choice([[n], [1, n], [m, n], [m, 1], []])
            want = want + wide(case.operand("c", shape, rng.random() < 0.8))
            inputs.append("c")
        return case.node("Gemm", inputs, "y", transA=ta, transB=tb), want
    shapes = {"2d": ([m, k], [k, n]), "rows": ([3, 2, m, k], [k, n]), "batch": ([2, 3, m, k], [2, 3, k, n]),
              "broadcast": ([2, 1, m, k], [3, k, n]), "vector": rng.choice([([k], [k, n]), ([m, k], [k]),
                                                                           ([k], [k]), ([2, m, k], [k])])}
    left, right = shapes[style]
    a, b = case.input("a", left), case.operand("b", right, constant)
    if style == "batch" and rng.random() < 0.5 and not constant:
        # As attention has it: the second operand transposed.
        case.feeds["b"] = np.ascontiguousarray(np.swapaxes(b, -1, -2))
        case.inputs[-1] = helper.make_tensor_value_info("b", TYPES[case.dtype], list(case.feeds["b"].shape))
        case.node("Transpose", ["b"], "bt", perm=[0, 1, 3, 2])
        return case.node("MatMul", ["a", "bt"], "y"), wide(a) @ wide(b)
    return case.node("MatMul", ["a", "b"], "y"), np.matmul(wide(a), wide(b))


def conv_numpy(x, w, strides, pads, dilations, group):
    """[N, C, ...] by [M, C / group, ...], one kernel position at a time."""
    rank = x.ndim - 2
    x = np.pad(wide(x), [(0, 0), (0, 0)] + [(pads[i], pads[rank + i]) for i in range(rank)])
    out = [(x.shape[2 + i] - dilations[i] * (w.shape[2 + i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    n, m = x.shape[0], w.shape[0]
    y = np.zeros([n, group, m // group] + out)
    xg = x.reshape([n, group, x.shape[1] // group] + list(x.shape[2:]))
    wg = wide(w).reshape([group, m // group] + list(w.shape[1:]))
    for tap in itertools.product(*(range(s) for s in w.shape[2:])):
        window = tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilations, out, strides))
        part = xg[(slice(None),) * 3 + window].reshape(n, group, xg.shape[2], -1)
        y += np.einsum("ngcp,gmc->ngmp", part, wg[(slice(None),) * 3 + tap]).reshape(y.shape)
    return y.reshape([n, m] + out)


def conv_transpose_numpy(x, w, strides, pads, dilations, group, output_padding):
    rank = x.ndim - 2
    full = [(x.shape[2 + i] - 1) * strides[i] + dilations[i] * (w.shape[2 + i] - 1) + 1 + output_padding[i]
            for i in range(rank)]
    n, m = x.shape[0], w.shape[1] * group
    y = np.zeros([n, group, m // group] + full)
    xg = wide(x).reshape([n, group, x.shape[1] // group] + list(x.shape[2:]))
    wg = wide(w).reshape([group, w.shape[0] // group] + list(w.shape[1:]))
    for tap in itertools.product(*(range(s) for s in w.shape[2:])):
        window = tuple(slice(t * d, t * d + (i - 1) * s + 1, s)
                       for t, d, i, s in zip(tap, dilations, x.shape[2:], strides))
        part = np.einsum("ngcp,gcm->ngmp", xg.reshape(n, group, xg.shape[2], -1), wg[(slice(None),) * 3 + tap])
        y[(slice(None),) * 3 + window] += part.reshape([n, group, m // group] + list(x.shape[2:]))
    crop = tuple(slice(pads[i], full[i] - pads[rank + i]) for i in range(rank))
    return y[(slice(None),) * 3 + crop].reshape([n, m] + [c.stop - c.start for c in crop])


def channels(rng, kind):
    """(input channels, output channels, groups)."""
    if kind == "depthwise":
        c = rng.choice([3, 8, 16, 24, 33, 40, 64])
        return c, c * rng.choice([1, 1, 1, 2, 3]), c
    if kind == "grouped":
        g = rng.choice([2, 3, 4, 8, 16])
        return g * rng.choice([1, 2, 4, 8, 20]), g * rng.choice([1, 2, 4, 8, 24]), g
    return rng.choice([1, 3, 4, 16, 30, 64]), rng.choice([1, 8, 16, 24, 37, 64, 100]), 1


def convolution(case):
    rng = case.rng
    rank = rng.choice([1, 2, 2, 2, 2, 3])
    kind = rng.choice(["dense", "dense", "depthwise", "grouped"])
    ci, co, group = channels(rng, kind)
    kernel = [rng.choice([1, 2, 3, 3, 5, 7] if rank < 3 else [1, 2, 3]) for _ in range(rank)]
    if rng.random() < 0.6:
        kernel = [kernel[0]] * rank
    strides = [rng.choice([1, 1, 2, 3]) for _ in range(rank)]
    dilations = [rng.choice([1, 1, 1, 2]) for _ in range(rank)]
    pads = [rng.choice([0, 1, k // 2, k // 2]) for k in kernel * 2]
    size = [max(rng.choice([5, 7, 14, 20, 33]), d * (k - 1) + 1) for k, d in zip(kernel, dilations)]
    if rank == 3:
        size = [min(s, 9) for s in size]
    x = case.input("x", [rng.choice([1, 1, 2, 3]), ci] + size)
    w = case.operand("w", [co, ci // group] + kernel, rng.random() < 0.75, fixed=True)
    case.text = f"{kind} {ci}->{co} g{group} {size} k{kernel} s{strides} d{dilations} p{pads}"
    want = conv_numpy(x, w, strides, pads, dilations, group)
    inputs = ["x", "w"]
    if rng.random() < 0.7:
        bias = case.operand("bias", [co], rng.random() < 0.9, fixed=True)
        want = want + wide(bias).reshape([1, co] + [1] * rank)
        inputs.append("bias")
    return case.node("Conv", inputs, "y", strides=strides, pads=pads, dilations=dilations, group=group), want


def winograd(case):
    """3x3 convolutions of the sizes that Winograd's algorithms are used for: F(4, 3), and F(2, 3) for few pixels."""
    rng = case.rng
    case.dtype = np.float32
    ci, co = rng.choice([8, 12, 16, 24, 32, 33, 48, 64, 130]), rng.choice([8, 12, 16, 24, 32, 40, 64, 100, 129])
    size = [rng.choice([16, 17, 18, 19, 29]) for _ in range(2)]
    if rng.random() < 0.3:
        ci, co, size = rng.choice([130, 256]), rng.choice([100, 256]), rng.choice([[7, 7], [7, 8], [8, 8], [9, 10]])
    pads = [rng.choice([0, 1, 1, 2]) for _ in range(4)]
    x = case.input("x", [rng.choice([1, 1, 2]), ci] + size)
    w = case.constant("w", [co, ci, 3, 3])
    bias = case.constant("bias", [co])
    case.text = f"{ci}->{co} {size} p{pads}"
    want = conv_numpy(x, w, [1, 1], pads, [1, 1], 1) + wide(bias).reshape([1, co, 1, 1])
    return case.node("Conv", ["x", "w", "bias"], "y", pads=pads), want


def inverted(case):
    """A convolution and the depthwise one that reads it: one launch where nobody else reads the values between."""
    rng = case.rng
    ci, c = rng.choice([3, 8, 16, 30, 64]), rng.choice([8, 16, 24, 33, 48, 64, 96, 130])
    kernel, lanes = rng.choice([1, 1, 1, 2, 3]), [rng.choice([1, 2, 3, 3, 5, 7]) for _ in range(2)]
    strides = [[rng.choice([1, 1, 2, 3]) for _ in range(2)] for _ in range(2)]
    pads = [[rng.choice([0, k // 2, k // 2, k - 1]) for k in size * 2] for size in ([kernel] * 2, lanes)]
    size = [rng.choice([7, 9, 14, 20, 33]) for _ in range(2)]
    size = [max(n, (lane - 1) * stride + kernel) for n, lane, stride in zip(size, lanes, strides[0])]
    batch = rng.choice([1, 1, 2, 3])
    x = case.array([batch, ci] + size)
    # Sizes of the image are known: where they are not, there are two launches, of kernels that other cases test.
    case.add_input("x", x, ["n" if case.dynamic else batch, ci] + size)
    v, w = case.constant("v", [c, ci, kernel, kernel]), case.constant("w", [c, 1] + lanes)
    bias = case.constant("bias", [c])
    case.text = f"{ci}->{c} {size} k{kernel} then k{lanes} s{strides} p{pads}"
    case.node("Conv", ["x", "v", "bias"], "between", strides=strides[0], pads=pads[0])
    want = conv_numpy(x, v, strides[0], pads[0], [1, 1], 1) + wide(bias).reshape([1, c, 1, 1])
    between = rng.choice(["none", "relu", "silu", "scale"])
    case.text += f" {between}"
    name = "between"
    if between == "relu":
        name, want = case.node("Relu", [name], "relu"), np.maximum(want, 0)
    elif between == "silu":
        case.node("Sigmoid", [name], "sigmoid")
        name, want = case.node("Mul", [name, "sigmoid"], "silu"), want / (1 + np.exp(-want))
    elif between == "scale":
        factor = case.constant("factor", [1, c, 1, 1])
        case.node("Relu", [name], "relu")
        name, want = case.node("Mul", ["relu", "factor"], "scaled"), np.maximum(want, 0) * wide(factor)
    want = conv_numpy(want, w, strides[1], pads[1], [1, 1], c)
    return case.node("Conv", [name, "w"], "y", strides=strides[1], pads=pads[1], group=c), want


def transposed(case):
    rng = case.rng
    rank = rng.choice([1, 2, 2, 2, 3])
    ci, co, group = channels(rng, rng.choice(["dense", "dense", "grouped"]))
    kernel = [rng.choice([1, 2, 3, 4]) for _ in range(rank)]
    strides = [rng.choice([1, 2, 2, 3]) for _ in range(rank)]
    dilations = [rng.choice([1, 1, 1, 2]) for _ in range(rank)]
    size = [rng.choice([3, 5, 8, 14]) for _ in range(rank)]
    pads = [rng.choice([0, 0, min(1, k - 1)]) for k in kernel * 2]
    extra = [rng.randrange(s) for s in strides]
    x = case.input("x", [rng.choice([1, 2]), ci] + size)
    w = case.operand("w", [ci, co // group] + kernel, rng.random() < 0.75, fixed=True)
    case.text = f"{ci}->{co} g{group} {size} k{kernel} s{strides} d{dilations} p{pads} +{extra}"
    want = conv_transpose_numpy(x, w, strides, pads, dilations, group, extra)
    inputs = ["x", "w"]
    if rng.random() < 0.7:
        want = want + wide(case.constant("bias", [co])).reshape([1, co] + [1] * rank)
        inputs.append("bias")
    return case.node("ConvTranspose", inputs, "y", strides=strides, pads=pads, dilations=dilations, group=group,
                     output_padding=extra), want


def einsum(case):
    rng = case.rng
    b, i, j, k = (rng.choice([1, 2, 5, 9, 16]) for _ in range(4))
    equation, shapes = rng.choice([
        ("bij,bjk->bik", [(b, i, j), (b, j, k)]), ("bhid,bhjd->bhij", [(b, 2, i, k), (b, 2, j, k)]),
        ("ij,jk,kb->ib", [(i, j), (j, k), (k, b)]), ("ii->i", [(i, i)]), ("ij->", [(i, j)]), ("ij->ji", [(i, j)]),
        ("...ij,...jk->...ik", [(b, 3, i, j), (3, j, k)]), ("i,j->ij", [(i,), (j,)]), ("bi,bi->b", [(b, i), (b, i)])])
    names = [f"a{n}" for n in range(len(shapes))]
    arrays = [case.input(name, list(shape)) for name, shape in zip(names, shapes)]
    case.text = f"{equation} {shapes}"
    return case.node("Einsum", names, "y", equation=equation), np.einsum(equation, *map(wide, arrays))


def residual(case):
    """A sum with a value that ends there, whose place the result may take, or with the operand itself."""
    rng = case.rng
    case.dtype = np.float32
    c, size, kernel = rng.choice([8, 24, 64]), rng.choice([9, 16, 20]), rng.choice([1, 3])
    group = rng.choice([1, 1, c])
    x, w = case.input("x", [rng.choice([1, 2]), c, size, size]), case.constant("w", [c, c // group, kernel, kernel])
    a, b = np.maximum(wide(x), 0), 1 / (1 + np.exp(-wide(x)))
    case.node("Relu", ["x"], "a")
    case.node("Sigmoid", ["x"], "b")
    other = rng.choice(["a", "b", "b"])
    case.text = f"{c} g{group} {size} k{kernel} + {other}"
    case.node("Conv", ["a", "w"], "c", pads=[kernel // 2] * 4, group=group)
    want = conv_numpy(a, w, [1, 1], [kernel // 2] * 4, [1, 1], group) + (a if other == "a" else b)
    return case.node("Add", ["c", other], "y"), want


def deep(case):
    """Contractions so long that they are done in parts."""
    rng = case.rng
    case.dtype = np.float32
    if rng.random() < 0.5:
        m, n, k = rng.choice([5, 40, 130, 300]), rng.choice([17, 64, 100]), rng.choice([2048, 3000, 3072, 4097])
        a, b = case.input("a", [m, k]), case.constant("b", [k, n])
        bias = case.constant("bias", [n])
        case.text = f"matmul {m}x{n}x{k}"
        case.node("MatMul", ["a", "b"], "p")
        return case.node("Add", ["p", "bias"], "y"), wide(a) @ wide(b) + wide(bias)
    kernel = rng.choice([1, 3])
    ci, co, size = rng.choice([1024, 2048]) if kernel == 1 else 512, rng.choice([24, 100]), rng.choice([7, 14])
    stride = rng.choice([1, 2])
    x, w = case.input("x", [1, ci, size, size]), case.constant("w", [co, ci, kernel, kernel])
    case.text = f"conv {ci}->{co} {size} k{kernel} s{stride}"
    pads = [kernel // 2] * 4
    want = conv_numpy(x, w, [stride] * 2, pads, [1, 1], 1)
    return case.node("Conv", ["x", "w"], "y", pads=pads, strides=[stride] * 2), want


def attention(case):
    rng = case.rng
    case.dtype = np.float32
    b, heads, group = rng.choice([1, 2]), rng.choice([1, 2, 3]), rng.choice([1, 1, 2])
    s, t = rng.choice([1, 2, 3, 6, 17, 40]), rng.choice([1, 5, 16, 40, 64, 100])
    d, e = rng.choice([4, 8, 24, 64, 80]), rng.choice([8, 16, 40, 64])
    q = case.input("q", [b, heads * group, s, d], fixed=False)
    k, v = case.input("k", [b, heads, t, d]), case.input("v", [b, heads, t, e])
    # Head widths and counts are fixed in real models.
    for i, shape in enumerate([q.shape, k.shape, v.shape]):
        for axis in (1, 3):
            case.inputs[i].type.tensor_type.shape.dim[axis].dim_value = shape[axis]
    inputs, attributes = ["q", "k", "v"], {}
    scores = np.einsum("bhsd,bhtd->bhst", wide(q), np.repeat(wide(k), group, axis=1))
    scale = 1 / np.sqrt(d)
    if rng.random() < 0.3:
        attributes["scale"] = scale = 0.3
    scores *= scale
    if rng.random() < 0.3:
        # Every query sees at least one key: the first one at the latest.
        attributes["is_causal"] = 1
        scores[..., np.arange(t)[None] > np.arange(s)[:, None]] = -np.inf
    elif rng.random() < 0.5:
        shape = rng.choice([[s, t], [b, 1, s, t], [1, 1, 1, t], [b, heads * group, s, t], [s, 1]])
        if rng.random() < 0.5:
            mask = case.data.random(shape) < 0.7
            mask[..., 0] = True
            scores = np.where(mask, scores, -np.inf)
            case.inputs.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, shape))
            case.feeds["mask"] = mask
        else:
            mask = case.array(shape)
            scores = scores + wide(mask)
            case.add_input("mask", mask, shape)
        inputs.append("mask")
    case.text = f"b{b} h{heads}x{group} s{s} t{t} d{d} e{e} {inputs[3:]} {attributes}"
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    want = np.einsum("bhst,bhte->bhse", p, np.repeat(wide(v), group, axis=1))
    return case.node("Attention", inputs, "y", **attributes), want


KINDS = {"attention": attention, "matmul": matmul, "conv": convolution, "inverted": inverted, "winograd": winograd,
         "residual": residual, "deep": deep, "conv_transpose": transposed, "einsum": einsum}


def run(seed, kind, folder, arguments):
    """Errors of one case: a list of messages, empty when all is well."""
    rng = random.Random(seed * 7919 + len(kind))
    case = Case(rng, np.float64 if rng.random() < 0.1 else np.float32)
    name, want = KINDS[kind](case)
    if kind not in ("einsum", "attention") and want.ndim > 0 and rng.random() < 0.6:
        name, want = case.epilogue(name, want)
    model = os.path.join(folder, "model.onnx")
    case.save(model, name, want)
    limit = 1e-12 if case.dtype == np.float64 else 1e-5
    errors = []
    for opt in (["--opt=0"], []):
        out = os.path.join(folder, "model.so")
        title = f"{kind} seed {seed} {opt} {case.dtype.__name__}{' dynamic' if case.dynamic else ''}: {case.text}"
        try:
            nnopt.compile(model, out, ["--quiet", *opt, f"--target={arguments.target}"])
            for threads in (1, 3):
                with nnopt.Session(out, threads) as session:
                    got = session.run(None, case.feeds)[0]
                error = nnopt.difference(got, case.want)
                if not error <= limit:
                    errors.append(f"{title}: {threads} threads: error {error:.2e}")
                    break
        except RuntimeError as e:
            errors.append(f"{title}: {e}")
    return errors


def target_argument(parser):
    parser.add_argument("--target", default="native")


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 20, run, target_argument))
