"""Matrix products and convolutions that multiply bf16 (--precision=bf16), against float64 results of numpy.

    ops_bf16.py [--seed=N] [--count=N] [--only=KIND]

The models of ops_contraction.py, with small integers for numbers: bf16 holds them exactly, and their sums are exact in
f32, so that results must be those of f32. Without AVX-512 BF16 in this CPU there is nothing to run.
"""
import os
import random
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import nnopt  # noqa: E402
import ops_contraction as contraction  # noqa: E402
import seeds  # noqa: E402

KINDS = {k: contraction.KINDS[k] for k in ("matmul", "conv", "residual", "deep")}


class Case(contraction.Case):
    def array(self, shape):
        return self.data.integers(-8, 9, shape).astype(self.dtype)


def run(seed, kind, folder, arguments):
    case = Case(random.Random(seed * 7919 + len(kind)), np.float32)
    name, want = KINDS[kind](case)
    if want.ndim > 0 and case.rng.random() < 0.6:
        name, want = case.epilogue(name, want)
    model, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    case.save(model, name, want)
    title = f"{kind} seed {seed}{' dynamic' if case.dynamic else ''}: {case.text}"
    try:
        nnopt.compile(model, out, ["--quiet", "--precision=bf16"])
        for threads in (1, 3):
            with nnopt.Session(out, threads) as session:
                error = nnopt.difference(session.run(None, case.feeds)[0], case.want)
            if not error <= 1e-5:
                return [f"{title}: {threads} threads: error {error:.2e}"]
    except RuntimeError as e:
        return [f"{title}: {e}"]
    return []


if __name__ == "__main__":
    with open("/proc/cpuinfo") as f:
        if "avx512_bf16" not in f.read():
            print("skipped: this CPU has no AVX-512 BF16\n0 passed, 0 failed")
            sys.exit(0)
    sys.exit(seeds.main(__doc__, KINDS, 15, run))
