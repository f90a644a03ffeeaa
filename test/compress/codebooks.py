#!/usr/bin/env python3
"""What other ways to write weights in 4 bits would gain: the errors of weights, before any rounding with feedback.

    codebooks.py [--only=lm,vit]

|Q - W| / |W|, the mean over the matrix products of a model of the test corpus: groups of 32 with steps of equal size, symmetric and with zero
points (ours); with steps of powers, sign * (k / 7) ** a (Yvinec et al. 2023, "NUPES"; the best of five a for each matrix); and, a scale for
each out channel, plain and with pairs of an outlier and a victim (Guo et al. 2023, "OliVe": values beyond the range take the
codes of their neighbour, which becomes zero). Scales of groups are those of least error. docs/rationale/weight-only.md has
the figures.
"""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import onnx
from corpus import SHARED
from onnx import numpy_helper

GROUP = 32


def nearest(values, codes):
    return codes[np.searchsorted((codes[1:] + codes[:-1]) / 2, values)]


def with_codes(groups, codes):
    """The squared error of rows with a scale each; `codes` are sorted, about in [-1, 1]."""
    largest = np.abs(groups).max(1, keepdims=True) + 1e-12
    scales = [largest * share for share in np.linspace(0.6, 1.05, 19)]
    return np.min([((nearest(groups / s, codes) * s - groups) ** 2).sum(1) for s in scales], 0).sum()


def with_zero_points(groups):
    errors = []
    for share in np.linspace(0.7, 1, 13):
        low, high = groups.min(1, keepdims=True) * share, groups.max(1, keepdims=True) * share
        scale = (high - low) / 15 + 1e-12
        zero = np.rint(-low / scale)
        errors.append((((np.clip(np.rint(groups / scale) + zero, 0, 15) - zero) * scale - groups) ** 2).sum(1))
    return np.min(errors, 0).sum()


def power_codes(exponent):
    positive = (np.arange(1, 9) / 7) ** exponent
    return np.concatenate([-positive[6::-1], [0], positive])


def with_victims(row):
    """Of one out channel: 4 bits for each value, whichever range of normal values is best."""
    errors = []
    for deviations in (2.5, 3, 3.5, 4):
        scale = deviations * row.std() / 7
        pairs = row.reshape(-1, 2)
        rounded = np.clip(np.rint(pairs / scale), -7, 7) * scale
        larger = np.abs(pairs).argmax(1)
        at = np.arange(len(pairs))
        outliers = nearest(np.abs(pairs[at, larger]) / scale, np.array([8, 12, 16, 24, 32, 48, 64, 96.0])) * scale
        apart = np.zeros_like(pairs)
        apart[at, larger] = outliers * np.sign(pairs[at, larger])
        has = (np.abs(pairs) > deviations * row.std()).any(1)
        rounded[has] = apart[has]
        errors.append(((rounded - pairs) ** 2).sum())
    return min(errors)


def measure(name):
    model = onnx.load(os.path.join(SHARED, "trained", name + ".onnx"))
    read = {i for n in model.graph.node if n.op_type in ("MatMul", "Gemm") for i in n.input}
    errors = {}
    linear = np.arange(-8, 8) / 7
    for tensor in model.graph.initializer:
        w = numpy_helper.to_array(tensor)
        if tensor.name not in read or w.ndim != 2 or min(w.shape) < GROUP or w.shape[0] % GROUP:
            continue
        rows = w.T.astype(np.float64)
        groups, energy = rows.reshape(-1, GROUP), (rows ** 2).sum()
        found = {"groups": with_codes(groups, linear), "groups, zero points": with_zero_points(groups),
                 "groups, powers": min(with_codes(groups, power_codes(a)) for a in (1.1, 1.2, 1.3, 1.5, 2)),
                 "rows": with_codes(rows, linear), "rows, victims": sum(with_victims(r) for r in rows)}
        for way, error in found.items():
            errors.setdefault(way, []).append(np.sqrt(error / energy))
    return {way: float(np.mean(e)) for way, e in errors.items()}, len(errors["rows"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="lm,vit")
    for name in parser.parse_args().only.split(","):
        errors, count = measure(name)
        print(f"{name} ({count} matrices): " + ", ".join(f"{way} {error:.4f}" for way, error in errors.items()))


if __name__ == "__main__":
    main()
