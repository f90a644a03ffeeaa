"""Matrix products and convolutions that multiply bf16 (--precision=bf16), against float64 results of numpy.

    ops_bf16.py [--seed=N] [--count=N] [--only=KIND]

The models of ops_contraction.py, with small integers for numbers: bf16 holds them exactly, and their sums are exact in
f32, so that results must be those of f32. Attention rounds its exponentials, by 2^-8 of each at most. Each case is compiled for
vectors (AVX-512 BF16) and for tiles (AMX); instructions that this CPU lacks are emulated (../support/x86.py). Ends with
`N passed, N failed`.
"""
import os
import random
import sys

import numpy as np
import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import nnopt  # noqa: E402
import ops_contraction as contraction  # noqa: E402
import seeds  # noqa: E402
import x86  # noqa: E402

TARGETS = ("cooperlake", "sapphirerapids")


def attention(case):
    """Queries, keys and values of integers; heads are columns of a matrix or stand by themselves."""
    rng = case.rng
    batch, heads, queries, keys = rng.choice([1, 2]), rng.choice([1, 3]), rng.choice([1, 5, 17, 64]), rng.choice([1, 2, 7, 33, 80])
    width, value_width = rng.choice([16, 32, 48, 64, 20]), rng.choice([16, 32, 64, 80, 24])
    causal, masked = rng.random() < 0.3, rng.random() < 0.4
    case.text = f"{batch}x{heads}x{queries}x{keys}x{width}x{value_width}" + " causal" * causal + " mask" * masked
    shapes = {"q": (queries, width), "k": (keys, width), "v": (keys, value_width)}
    operands, names = [], []
    for name, (rows, columns) in shapes.items():
        sizes = [batch, rows, heads, columns]
        dims = [batch, "queries" if name == "q" else "keys", heads, columns] if case.dynamic else sizes
        if rng.random() < 0.5:
            x = case.array([sizes[i] for i in (0, 2, 1, 3)])
            case.add_input(name, x, [dims[i] for i in (0, 2, 1, 3)])
            names.append(name)
        else:
            x = case.array(sizes)
            case.add_input(name, x, dims)
            x = x.transpose(0, 2, 1, 3)
            names.append(case.node("Transpose", [name], name + "t", perm=[0, 2, 1, 3]))
        operands.append(wide(x))
    q, k, v = operands
    scores = 0.125 * q @ k.swapaxes(-1, -2)
    if causal:
        scores = np.where(np.arange(keys) <= np.arange(queries)[:, None], scores, -np.inf)
    if masked:
        mask = case.input("m", [queries, keys], fixed=True)
        scores = scores + mask
        names.append("m")
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    case.bound = 2.0 ** -8 * (p @ np.abs(v)) + 1e-5
    return case.node("Attention", names, "y", scale=0.125, is_causal=int(causal)), p @ v


def to_bf16(x):
    """Rounded to 8 bits of precision, halves to even."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def recurrent(case):
    """LSTM, GRU and RNN. Inputs and weights are exact in bf16; of what a step multiplies only the state is rounded."""
    rng = case.rng
    kind, direction = rng.choice(["LSTM", "GRU", "RNN"]), rng.choice(["forward", "reverse", "bidirectional"])
    steps, batch, inputs, hidden = rng.choice([1, 3, 6]), rng.choice([1, 2, 5]), rng.choice([1, 7, 16, 33]), rng.choice([3, 16, 31, 64])
    gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    linear = kind == "GRU" and rng.random() < 0.5
    case.text = f"{kind} {direction}{' linear' * linear} {steps}x{batch}x{inputs}x{hidden}"
    x = case.input("x", [steps, batch, inputs])
    shapes = {"w": (directions, gates * hidden, inputs), "r": (directions, gates * hidden, hidden), "b": (directions, 2 * gates * hidden)}
    w, r, b = (case.fractions(name, shape) for name, shape in shapes.items())
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    y = np.zeros((steps, directions, batch, hidden))
    for d in range(directions):
        h = c = np.zeros((batch, hidden))
        wb, rb = wide(b[d]).reshape(2, gates, hidden)
        ws, rs = wide(w[d]).reshape(gates, hidden, inputs), wide(r[d]).reshape(gates, hidden, hidden)
        for t in range(steps)[::-1 if direction == "reverse" or d == 1 else 1]:
            from_x = [wide(x[t]) @ ws[g].T + wb[g] for g in range(gates)]
            from_h = [to_bf16(h) @ rs[g].T + rb[g] for g in range(gates)]
            sums = [a + b for a, b in zip(from_x, from_h)]
            if kind == "LSTM":
                i, o, f, g = sums
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            elif kind == "GRU":
                z, reset = sigmoid(sums[0]), sigmoid(sums[1])
                last = from_x[2] + (reset * from_h[2] if linear else to_bf16(reset * h) @ rs[2].T + rb[2])
                h = (1 - z) * np.tanh(last) + z * h
            else:
                h = np.tanh(sums[0])
            y[t, d] = h
    # A state may be rounded the other way where f32 and f64 differ: a few of 2^-9 each, times weights of 1/64 to 1/8.
    case.bound = np.full(y.shape, 2.0 ** -9)
    extra = {"linear_before_reset": 1} if linear else {}
    return case.node(kind, ["x", "w", "r", "b"], "y", hidden_size=hidden, direction=direction, **extra), y


def wide(x):
    return x.astype(np.float64)


KINDS = {k: contraction.KINDS[k] for k in ("matmul", "conv", "residual", "deep")} | {"attention": attention, "recurrent": recurrent}


class Case(contraction.Case):
    def array(self, shape):
        return self.data.integers(-8, 9, shape).astype(self.dtype)

    def fractions(self, name, shape):
        value = self.array(shape) / 64
        self.constants.append(onnx.numpy_helper.from_array(value, name))
        return value


def run(seed, kind, folder, arguments):
    case = Case(random.Random(seed * 7919 + len(kind)), np.float32)
    name, want = KINDS[kind](case)
    bound = getattr(case, "bound", None)
    if bound is None and want.ndim > 0 and case.rng.random() < 0.6:
        name, want = case.epilogue(name, want)
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    case.save(model, name, want)
    errors = []
    for target in TARGETS:
        title = f"{kind} seed {seed} for {target}{' dynamic' if case.dynamic else ''}: {case.text}"
        try:
            nnopt.compile(model, out, ["--quiet", "--precision=bf16", f"--target={target}"])
            x86.accept(out)
            for threads in (1, 3):
                with nnopt.Session(out, threads) as session:
                    got = session.run(None, case.feeds)[0]
                error = nnopt.difference(got, case.want) if bound is None else 1e-5 * np.max(np.abs(wide(got) - want) / bound)
                if not error <= 1e-5:
                    errors.append(f"{title}: {threads} threads: error {error:.2e}")
        except RuntimeError as e:
            errors.append(f"{title}: {e}")
    return errors


if __name__ == "__main__":
    if not x86.preload():
        print("skipped: this CPU has no AVX-512\n0 passed, 0 failed")
        sys.exit(0)
    sys.exit(seeds.main(__doc__, KINDS, 10, run))
