#!/usr/bin/env python3
"""Tensor-core kernels on random shapes, lane by lane on the CPU, against --opt=0.

    tensor.py [--seed=N] [--count=N] [--only=KIND]

As kernels.py, with models of f16 and bf16, products in bf16 and tf32 of f32 models, and integers. A case is compiled for a
GPU of few or many multiprocessors, so that all tiles and split products occur, or as the image for sm_90a.
Errors of an output may be, relative to its scale:
  integers   0: sums are exact; where they are quantized again, one step of 255 (it is rounded from another float)
  f16, bf16  2^-10, 2^-7: one unit in the last place of a result that is rounded to the type
  attention  2e-3, with bf16 2e-2
  network    1e-2: some tensors one after another that are rounded to f16
  products in bf16, tf32: 1e-5 where operands have no more bits (the sums are of the same products), else 2^-7, 2^-10
Ends with `N passed, N failed`; exit code 1 if any case fails.
"""
import os
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
from onnx import TensorProto

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kernels import Case, simt  # noqa: E402
import nnopt  # noqa: E402
import seeds  # noqa: E402

NARROW = {"f16": (TensorProto.FLOAT16, 2**-10), "bf16": (TensorProto.BFLOAT16, 2**-7)}


def cut(value, bits):
    """f32 with so many bits behind the point."""
    return (value.view(np.uint32) & np.uint32((0xffffffff << (23 - bits)) & 0xffffffff)).view(np.float32)


class TensorCase(Case):
    """A case with flags and a tolerance of its own."""

    def __init__(self, seed):
        super().__init__(seed)
        self.flags, self.tolerance, self.expects = [], 1e-5, b""
        self.gpu = self.rng.choice(["emulate", "emulate", "emulate:1", "emulate:6", "emulate:sm_90a", "emulate:6:sm_90a"])
        self.dynamic = False

    def scaled(self, terms, *shape):
        """Weights of a sum of so many terms, which is about 1."""
        return self.const((terms**-0.5 * self.data.standard_normal(shape)).astype(np.float32))

    def narrow(self, value):
        """The value as self.type, whose bits it may be cut to before."""
        return self.node("Cast", value, to=self.type) if self.type else value

    def keep_bits(self, bits):
        """Cuts all f32 data to so many bits behind the point."""
        self.feeds = {n: cut(v, bits) for n, v in self.feeds.items()}
        for c in self.constants:
            if c.data_type == TensorProto.FLOAT:
                c.raw_data = cut(np.frombuffer(c.raw_data, np.float32), bits).tobytes()

    def choose_type(self):
        """f16 or bf16 in the model, or f32 with products of another type."""
        kind = self.rng.choice(["f16", "f16", "bf16", "products bf16", "products tf32", "products tf32"])
        self.type = NARROW[kind][0] if kind in NARROW else 0
        if kind in NARROW:
            self.tolerance = NARROW[kind][1]
        else:
            self.flags = [f"--precision={kind.split()[1]}"]
        self.kind = kind
        return kind

    def finish_type(self, y):
        if not self.type:
            bits = 7 if self.kind == "products bf16" else 10
            if self.rng.random() < 0.7:
                self.keep_bits(bits)
            else:
                self.tolerance = 2.0 ** -bits  # each factor of a product is rounded by half of that
            return y
        return self.node("Cast", y, to=TensorProto.FLOAT)


def finish(c, y, width):
    """Bias, residual and activation, which become an epilogue."""
    if c.rng.random() < 0.5:
        y = c.node("Add", y, c.narrow(c.weight(width)))
    if c.rng.random() < 0.5:
        y = c.node(c.rng.choice(["Relu", "Sigmoid", "Tanh"]), y)
    return y


def matmul(c):
    kind = c.choose_type()
    m, n = c.size(1, 5, 16, 33, 64, 70, 130, 260), c.size(2, 4, 17, 64, 96, 130, 300, 512)
    k = c.size(1, 3, 8, 30, 31, 64, 72, 130, 256, 640)
    batch = c.rng.choice([[], [], [2], [2, 3]])
    c.dynamic = not batch and c.rng.random() < 0.2
    # What is not constant is rounded to bf16 in f16 and bf16 models only.
    constant = kind == "products bf16" or c.dynamic or c.rng.random() < 0.5
    transpose_a = not c.dynamic and kind != "products bf16" and c.rng.random() < 0.3
    transpose_b = not constant and c.rng.random() < 0.5
    # Sums of about 1, of which activations lose nothing.
    a = c.input(batch + ([k, m] if transpose_a else [m, k]))
    c.feeds[a] *= np.float32(k**-0.5)
    if c.dynamic:
        c.inputs[0].type.tensor_type.shape.dim[1].dim_value = k
    a = c.narrow(a)
    if transpose_a:
        a = c.node("Transpose", a, perm=[*range(len(batch)), len(batch) + 1, len(batch)])
    own = batch if c.rng.random() < 0.5 and kind != "products bf16" else []
    if constant:
        b = c.narrow(c.weight(*own, k, n))
    else:
        b = c.narrow(c.input(own + ([n, k] if transpose_b else [k, n])))
        if transpose_b:
            b = c.node("Transpose", b, perm=[*range(len(own)), len(own) + 1, len(own)])
    return c.finish_type(finish(c, c.node("MatMul", a, b), n))


def convolution(c):
    c.choose_type()
    group = c.rng.choice([1, 1, 1, 2])
    ci = group * (c.size(1, 3, 8, 20, 32) if group == 1 else c.size(8, 20) if c.type else c.size(16, 20))
    co = group * c.size(8, 16, 33, 64, 100)
    k, stride, dilation = c.size(1, 3, 5), c.size(1, 1, 2), c.size(1, 1, 2)
    size = [max(c.size(5, 9, 14), dilation * (k - 1) + 1) for _ in range(2)]
    x = c.narrow(c.input([c.size(1, 2), ci] + size))
    pads = [c.rng.randrange(k) for _ in range(4)]
    y = c.node("Conv", x, c.narrow(c.weight(co, ci // group, k, k)), *([c.narrow(c.weight(co))] if c.rng.random() < 0.7 else []),
               group=group, strides=[stride] * 2, dilations=[dilation] * 2, pads=pads)
    if c.rng.random() < 0.5:
        y = c.node("Relu", y)
    return c.finish_type(y)


def bytes_of(c, shape, signed):
    low, high = (-128, 128) if signed else (0, 256)
    return c.data.integers(low, high, shape).astype(np.int8 if signed else np.uint8)


def byte_input(c, shape, signed):
    """An input of bytes: f32 of whole numbers, cast."""
    name = c.input(shape)
    c.feeds[name] = bytes_of(c, shape, signed).astype(np.float32)
    return c.node("Cast", name, to=TensorProto.INT8 if signed else TensorProto.UINT8)


def zero_points(c, shape, signed):
    if not signed and c.rng.random() < 0.3:
        return np.full(shape, 128, np.uint8)
    low, high = (-9, 9) if signed else (100, 156)
    return c.data.integers(low, high, shape).astype(np.int8 if signed else np.uint8)


def integer_matmul(c):
    m, n, k = c.size(1, 5, 16, 33, 130), c.size(2, 17, 64, 130, 300), c.size(1, 3, 16, 30, 64, 130, 1100)
    a_signed, b_signed = c.rng.random() < 0.5, c.rng.random() < 0.6
    batch = c.rng.choice([[], [], [3]])
    zeros = c.rng.randrange(3)
    inputs = [byte_input(c, batch + [m, k], a_signed), c.const(bytes_of(c, (k, n), b_signed))]
    if zeros:
        # A zero point that is known, or one that comes with the activation.
        zero = zero_points(c, (), a_signed)
        inputs.append(c.const(zero) if c.rng.random() < 0.6 else c.node("Squeeze", byte_input(c, [1], a_signed)))
    if zeros == 2:
        inputs.append(c.const(zero_points(c, c.rng.choice([(), (n,)]), b_signed)))
    c.tolerance = 0
    return c.node("Cast", c.node("MatMulInteger", *inputs), to=TensorProto.FLOAT)


def integer_convolution(c):
    group = c.rng.choice([1, 1, 1, 2])
    ci, co = group * (c.size(1, 3, 16, 20) if group == 1 else c.size(8, 16)), group * c.size(8, 16, 33, 64)
    k, stride = c.size(1, 3), c.size(1, 2)
    a_signed = c.rng.random() < 0.5
    x = byte_input(c, [c.size(1, 2), ci, c.size(5, 9), c.size(5, 14)], a_signed)
    inputs = [x, c.const(bytes_of(c, (co, ci // group, k, k), True))]
    if c.rng.random() < 0.7:
        inputs.append(c.const(zero_points(c, (), a_signed)))
    c.tolerance = 0
    y = c.node("ConvInteger", *inputs, group=group, strides=[stride] * 2, pads=[c.rng.randrange(k) for _ in range(4)])
    return c.node("Cast", y, to=TensorProto.FLOAT)


def quantized(c):
    """Quantized in, quantized out, with a bias: what quantizing tools write."""
    scale = lambda v: c.const(np.float32(v))
    is_conv, m, k, n = c.rng.random() < 0.5, c.size(1, 33, 64), c.size(16, 32, 72), c.size(16, 40, 64)
    shape = [1, k, 9, 7] if is_conv else [m, k]
    zero = lambda v: c.const(np.uint8(v))
    q = c.node("QuantizeLinear", c.input(shape), scale(0.03), zero(120))
    x = c.node("DequantizeLinear", q, scale(0.03), zero(120))
    w = bytes_of(c, (n, k, 3, 3) if is_conv else (k, n), True)
    scales = c.data.uniform(0.001, 0.01, n).astype(np.float32)
    w = c.node("DequantizeLinear", c.const(w), c.const(scales), c.const(np.zeros(n, np.int8)), axis=0 if is_conv else 1)
    if is_conv:
        y = c.node("Conv", x, w, c.weight(n), pads=[1, 1, 1, 1])
    else:
        y = c.node("Add", c.node("MatMul", x, w), c.weight(n))
    y = c.node("QuantizeLinear", c.node("Relu", y), scale(0.05), zero(0))
    c.tolerance = 1.0001 / 255  # one step, and the rounding of the error itself
    return c.node("DequantizeLinear", y, scale(0.05), zero(0))


def attention(c):
    """Queries, keys and values as projections leave them: heads beside each other, or a tensor of each."""
    c.choose_type()
    batch, shared, group = c.size(1, 2), c.size(1, 2), c.size(1, 1, 3)
    queries, keys = c.size(5, 16, 33, 70, 140), c.size(1, 7, 33, 64, 70, 150)
    if c.rng.random() < 0.5:
        keys = queries
    width, value_width = c.size(8, 16, 24, 40, 64, 72, 128), c.size(8, 16, 40, 64)
    c.dynamic = c.rng.random() < 0.3
    operands = []
    for heads, length, name, components in ((shared * group, queries, "q", width), (shared, keys, "k", width),
                                            (shared, keys, "k", value_width)):
        beside = c.rng.random() < 0.5
        size = name if c.dynamic else length
        x = c.input([batch, length, heads * components] if beside else [batch, heads, length, components],
                    dims=[batch, size, heads * components] if beside else [batch, heads, size, components])
        x = c.narrow(x)
        if beside:
            x = c.node("Reshape", x, c.const(np.array([0, 0, heads, components])))
            x = c.node("Transpose", x, perm=[0, 2, 1, 3])
        operands.append(x)
    causal, mask = c.rng.random() < 0.4, ""
    if not causal and c.rng.random() < 0.5:
        shape = c.rng.choice([[queries, keys], [batch, 1, queries, keys], [1, shared * group, 1, keys]])
        taking = c.data.random(shape) < 0.7
        taking[..., 0] = True
        named = [("q" if n == queries and i == len(shape) - 2 else "k" if i == len(shape) - 1 else n) if c.dynamic else n
                 for i, n in enumerate(shape)]
        if c.rng.random() < 0.5:
            mask = c.input(None, taking, named)
        else:
            mask = c.narrow(c.input(None, np.where(taking, c.data.standard_normal(shape), -np.inf).astype(np.float32), named))
    # With fewer keys than queries, causal rows see all or none of them.
    y = c.node("Attention", *operands, mask, is_causal=int(causal), **({"softcap": 5.0} if c.rng.random() < 0.2 else {}))
    if c.rng.random() < 0.5:
        y = c.node("Transpose", y, perm=[0, 2, 1, 3])
    # Scores, of up to 16, are rounded as well: by --opt=0 to 16 bits after each step, by tensor cores as they multiply.
    c.tolerance = {"f16": 2e-3, "bf16": 2e-2, "products bf16": 2e-3, "products tf32": 2e-3}[c.kind]
    c.expects = b"attention"
    return y if not c.type else c.node("Cast", y, to=TensorProto.FLOAT)


def narrow_weights(c):
    """Weights of 8 and 4 bits, of many rows, and of 16 bits, of rows that are multiplied as tf32."""
    kind = c.choose_type()
    m, n, k = c.size(5, 16, 33, 130, 260), c.size(2, 16, 33, 64, 130, 300), c.size(8, 17, 32, 64, 96, 160, 640)
    c.dynamic = c.rng.random() < 0.2
    x = c.input([m, k], dims=["rows" if c.dynamic else m, k])
    if not c.type and c.rng.random() < 0.25:
        values = k**-0.5 * c.data.standard_normal((k, n))
        w = c.node("Cast", c.const(values.astype(c.rng.choice([np.float16, ml_dtypes.bfloat16]))), to=TensorProto.FLOAT)
        bits = 16
    else:
        bits, signed = c.rng.choice([4, 8]), c.rng.random() < 0.5
        numpy_type = {(4, True): ml_dtypes.int4, (4, False): ml_dtypes.uint4, (8, True): np.int8, (8, False): np.uint8}[bits, signed]
        draw = lambda *shape: (c.data.integers(0, 2**bits, shape) - (2**(bits - 1) if signed else 0)).astype(numpy_type)
        step = 32 if c.type else 16
        block = c.rng.choice([b for b in (step, 2 * step) if k % b == 0 and b < k] or [0])
        shape, attributes = ([k // block, n], {"axis": 0, "block_size": block}) if block else ([n], {"axis": 1})
        # Sums of about 1, of which activations lose nothing.
        scales = (k**-0.5 / 2**bits * c.data.uniform(0.5, 2, shape)).astype(np.float32)
        scales = c.const(scales.astype({0: np.float32, NARROW["f16"][0]: np.float16, NARROW["bf16"][0]: ml_dtypes.bfloat16}[c.type]))
        zero = [c.const(draw(*shape))] if c.rng.random() < 0.7 else []
        w = c.node("DequantizeLinear", c.const(draw(k, n)), scales, *zero, **attributes)
    c.expects = f"w{bits}_".encode()
    y = finish(c, c.node("MatMul", c.narrow(x), w), n)
    if c.type:
        return c.node("Cast", y, to=TensorProto.FLOAT)
    # Rows that are tf32 already: weights are rounded to that once, when they have been scaled.
    c.keep_bits(10)
    c.tolerance = 2**-10
    return y


def network(c):
    """Layers with f16 between them (--precision=f16): an image's or a text's."""
    n, width = c.size(1, 2), c.size(16, 24, 40)
    if c.rng.random() < 0.5:
        channels, groups = c.size(8, 24), c.rng.choice([1, width])
        x = c.input([n, channels, 9, 11])
        y = c.node("Relu", c.node("Conv", x, c.scaled(channels, width, channels, 1, 1), c.weight(width)))
        z = c.node("Conv", y, c.scaled(9 * width // groups, width, width // groups, 3, 3), group=groups, pads=[1, 1, 1, 1],
                   strides=[c.rng.choice([1, 2])] * 2)
        if c.rng.random() < 0.5:
            z = c.node("MaxPool", z, kernel_shape=[3, 3], strides=[2, 2])
        y = c.node("GlobalAveragePool", c.node("HardSwish", z))
        y = c.node("Softmax", c.node("MatMul", c.node("Flatten", y), c.scaled(width, width, 10)))
    else:
        x = c.input([n, c.size(3, 17, 40), width])
        y = c.node(c.rng.choice(["LayerNormalization", "RMSNormalization"]), x, c.weight(width))
        parts = [c.node("MatMul", y, c.scaled(width, width, width)) for _ in range(3)]
        parts = [c.node("Reshape", p, c.const(np.array([0, 0, 2, width // 2]))) for p in parts]
        y = c.node("Attention", *[c.node("Transpose", p, perm=[0, 2, 1, 3]) for p in parts])
        y = c.node("Reshape", c.node("Transpose", y, perm=[0, 2, 1, 3]), c.const(np.array([0, 0, width])))
        x = c.node("Add", x, c.node("MatMul", y, c.scaled(width, width, width)))
        y = c.node("ReduceMean", c.node("Gelu", x), c.const(np.array([c.rng.choice([1, 2])])))
    c.flags, c.tolerance, c.expects = ["--precision=f16"], 1e-2, rb"\w*f16"
    return y


TILES = [(128, 256), (128, 128), (128, 64), (64, 128), (64, 64), (32, 64), (16, 64)]


def tiles(c):
    """Each tile, with and without slices, and the ways that operands lie in memory: a graph of nn operations."""
    rows, columns = TILES[c.seed % len(TILES)]
    slices = c.rng.choice([1, 2, 3])
    kind, width = c.rng.choice([("f16", 2), ("f16", 2), ("f32", 4), ("i8", 1), ("ui8", 1)])
    numpy_type = {"f16": np.float16, "f32": np.float32, "i8": np.int8, "ui8": np.uint8}[kind]
    is_byte = width == 1
    m, n = c.rng.choice([rows, rows + 3, 2 * rows + 5]), c.rng.choice([columns, columns + 1, columns + 20])
    k = 4 * slices * 128 // width + c.rng.choice([0, 2, 1, 40])
    transpose_a, transpose_b = c.rng.random() < 0.4, c.rng.random() < 0.5
    constant = is_byte or c.rng.random() < 0.5
    draw = lambda shape: bytes_of(c, shape, kind == "i8") if is_byte else c.data.standard_normal(shape).astype(numpy_type)
    a, b = draw((k, m) if transpose_a else (m, k)), draw((n, k) if transpose_b else (k, n))
    if kind == "f32":
        a, b = (cut(v, 10) for v in (a, b))
    c.feeds = {"a": a} if constant else {"a": a, "b": b}
    c.flags = ["--precision=tf32"]
    c.tolerance = 0 if is_byte else 1e-5
    text = lambda v, element=kind: f"tensor<{'x'.join(map(str, v.shape))}x{element}>"
    result = f"tensor<{m}x{n}x{'i32' if is_byte else 'f32'}>"
    flags = ", ".join([f"nn.kernel = {{rows = {rows} : i64, columns = {columns} : i64, slices = {slices} : i64}}"] +
                      ["transpose_a"] * transpose_a + ["transpose_b"] * transpose_b)
    arguments = ", ".join(f'%{name}: {text(v)} {{nn.name = "{name}"}}' for name, v in c.feeds.items())
    weights = f'  %b = nn.constant dense<"0x{b.tobytes().hex()}"> : {text(b)}\n' if constant else ""
    # The f32 sums as they are.
    epilogue = " {\n  ^bb0(%sum: f32):\n    nn.yield %sum : f32\n  }" if kind == "f16" else ""
    c.expects = f"{rows}x{columns}{f'_split{slices}' if slices > 1 else ''}".encode()
    return (f'func.func @main({arguments}) -> ({result} {{nn.name = "y"}}) {{\n{weights}'
            f"  %y = nn.matmul %a, %b {{{flags}}} : ({text(a)}, {text(b)}) -> {result}{epilogue}\n  return %y : {result}\n}}\n")


KINDS = {f.__name__: f for f in (tiles, matmul, narrow_weights, attention, convolution, integer_matmul, integer_convolution, quantized, network)}


def run(seed, kind, folder, arguments):
    c = TensorCase(seed * 7919 + sorted(KINDS).index(kind))
    c.seed = seed
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    result = KINDS[kind](c)
    if kind == "tiles":
        model = os.path.join(folder, "model.mlir")
        with open(model, "w") as f:
            f.write(result)
    else:
        c.save(model, result)
    title = f"{kind} --seed={seed} {c.flags} {c.gpu}{' dynamic' if c.dynamic else ''} {[list(v.shape) for v in c.feeds.values()]}"
    feeds, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
    np.savez(feeds, **c.feeds)
    results = []
    for flags in (["--opt=0"], [f"--gpu={c.gpu}", f"--link={simt(folder)}", *c.flags]):
        try:
            nnopt.compile(model, out, ["--quiet", *flags])
            with open(out, "rb") as f:
                if results and not re.search(rb"tensor_\w*" + c.expects, f.read()):
                    return [f"{title}: no kernel for tensor cores"]
            process = subprocess.run([nnopt.tool("nnopt-run"), out, f"--inputs={feeds}", f"--outputs={result}", "--quiet",
                                      "--threads=1"], capture_output=True, text=True, timeout=120)
            if process.returncode:
                return [f"{title} {flags}: exit {process.returncode}: {(process.stderr + process.stdout).strip()[-300:]}"]
            with np.load(result) as arrays:
                results.append(arrays[arrays.files[0]])
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            return [f"{title} {flags}: {e}"]
    error = nnopt.difference(results[1], results[0])
    return [] if error <= c.tolerance else [f"{title}: error {error:.2e}, not {c.tolerance:.1e}"]


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 7, run))
