#!/usr/bin/env python3
"""Operators that draw random numbers: the generator itself, when it draws anew, and the distributions.

    random_numbers.py

docs/rationale/random.md says what is promised. Ends with `N passed, N failed`.
"""
import os
import struct
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnopt import BUILD, Session, compile

F32, F64, F16, I64, BOOL = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL)
passed = failed = 0


def check(name, holds, detail=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAIL  {name} {detail}", flush=True)


class Compiled:
    """A graph compiled at a level."""

    def __init__(self, nodes, outputs, inputs=(), initializers=(), level=2):
        info = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
        graph = helper.make_graph(nodes, "random", info, [helper.make_empty_tensor_value_info(o) for o in outputs],
                                  [numpy_helper.from_array(v, k) for k, v in initializers])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        self.folder = tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "conformance"))
        path, self.artifact = os.path.join(self.folder.name, "m.onnx"), os.path.join(self.folder.name, "m.so")
        onnx.save(model, path)
        compile(path, self.artifact, [f"--opt={level}"])

    def runs(self, count=1, threads=1, **feeds):
        with Session(self.artifact, threads) as session:
            return [session.run(None, feeds) for _ in range(count)]

    def once(self, **feeds):
        return self.runs(1, **feeds)[0]


# --------------------------------------------------------------------- the generator
def philox(key, run, blocks):
    """Philox 4x32-10 of counters (block, run) in integers."""
    words = []
    for block in range(blocks):
        c = [block & 0xffffffff, block >> 32, run & 0xffffffff, run >> 32]
        k = [key & 0xffffffff, key >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & 0xffffffff, (a >> 32) ^ c[3] ^ k[1], a & 0xffffffff]
            k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
        words += c
    return np.array(words, np.uint64)


def check_generator():
    # The published answer for a counter and key of 0 (kat_vectors of Random123).
    check("known answer", list(philox(0, 0, 1)) == [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
    n = 1001
    model = Compiled([helper.make_node("RandomUniform", [], ["a"], shape=[n]),
                      helper.make_node("RandomUniform", [], ["b"], shape=[7, n // 7], seed=2.5),
                      helper.make_node("RandomUniform", [], ["c"], shape=[n], dtype=F64)], ["a", "b", "c"])
    uniform = lambda w: ((w >> np.uint64(8)) * 2.0**-24).astype(np.float32)
    first, second = model.runs(2)
    for run, (a, b, c) in enumerate((first, second)):
        check(f"stream 0, run {run}", np.array_equal(a, uniform(philox(0, run, n))[:n]))
        key = struct.unpack("<Q", struct.pack("<d", 2.5))[0]
        check(f"seed, run {run}", np.array_equal(b.ravel(), uniform(philox(key, 2**64 - 1, n))[:n]))
        w = philox(1, run, n)
        wide = ((w[0::2] >> np.uint64(5)) * 2.0**26 + (w[1::2] >> np.uint64(6))) * 2.0**-53
        check(f"f64, run {run}", np.array_equal(c, wide[:n]))


# --------------------------------------------------------------------- what is drawn when
def check_reproducible():
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["a"]), helper.make_node("RandomNormalLike", ["x"], ["b"]),
             helper.make_node("RandomNormalLike", ["x"], ["c"], seed=1.0), helper.make_node("RandomNormalLike", ["x"], ["d"], seed=1.0),
             helper.make_node("RandomNormalLike", ["x"], ["e"], seed=2.0)]
    x = np.zeros((33, 5), np.float32)
    results = {}
    for level in (2, 0):
        model = Compiled(nodes, list("abcde"), [("x", F32, ["n", 5])], level=level)
        results[level] = model.runs(3, x=x)
        check(f"sessions repeat, --opt={level}", all(np.array_equal(g, w) for run, again in zip(results[level], model.runs(3, x=x))
                                                     for g, w in zip(run, again)))
        check(f"threads do not matter, --opt={level}",
              all(np.array_equal(g, w) for g, w in zip(results[level][0], model.runs(1, threads=3, x=x)[0])))
    check("levels agree", all(np.allclose(g, w, atol=1e-6) for run, other in zip(results[2], results[0]) for g, w in zip(run, other)))
    (a, b, c, d, e), (a2, b2, c2, _, _), _ = results[2]
    check("nodes without seed differ", not np.array_equal(a, b))
    check("runs without seed differ", not np.array_equal(a, a2) and not np.array_equal(b, b2))
    check("runs with seed agree", np.array_equal(c, c2))
    check("equal seeds agree", np.array_equal(c, d))
    check("other seeds differ", not np.array_equal(c, e) and not np.array_equal(c, a))


def check_shared_use():
    """A value that is read twice is drawn once."""
    for level in (2, 0):
        y, z = Compiled([helper.make_node("RandomUniform", [], ["u"], shape=[64]), helper.make_node("Mul", ["u", "two"], ["y"]),
                         helper.make_node("Add", ["u", "u"], ["z"])], ["y", "z"], initializers=[("two", np.float32(2))],
                        level=level).once()
        check(f"shared, --opt={level}", np.array_equal(y, z))


def check_loops():
    body = helper.make_graph([helper.make_node("RandomUniform", [], ["u"], shape=[8]),
                              helper.make_node("RandomUniform", [], ["v"], shape=[8], seed=3.0),
                              helper.make_node("Identity", ["c"], ["d"])], "body",
                             [helper.make_tensor_value_info("i", I64, []), helper.make_tensor_value_info("c", BOOL, [])],
                             [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("u", F32, [8]),
                              helper.make_tensor_value_info("v", F32, [8])])
    for level in (2, 0):
        model = Compiled([helper.make_node("Loop", ["trips", ""], ["us", "vs"], body=body)], ["us", "vs"], [("trips", I64, [])],
                         level=level)
        (us, vs), (us2, _) = model.runs(2, trips=np.array(5))
        rows = np.concatenate([us, us2])
        check(f"iterations differ, --opt={level}", len(np.unique(rows, axis=0)) == 10)
        check(f"iterations with seed agree, --opt={level}", len(np.unique(vs, axis=0)) == 1)


# --------------------------------------------------------------------- distributions
def close(value, expected, deviation, count):
    """Whether a mean over `count` numbers is within five standard errors."""
    return abs(value - expected) <= 5 * deviation / np.sqrt(count) + 1e-12


def check_moments():
    shape, n = [200, 500], 100_000
    for dtype, kind in ((F32, np.float32), (F64, np.float64), (F16, np.float16)):
        uniform, normal = Compiled([helper.make_node("RandomUniform", [], ["u"], shape=shape, dtype=dtype, low=-2.0, high=4.0),
                                    helper.make_node("RandomNormal", [], ["n"], shape=shape, dtype=dtype, mean=1.5, scale=3.0)],
                                   ["u", "n"]).once()
        name = np.dtype(kind).name
        check(f"types {name}", uniform.dtype == kind and normal.dtype == kind and uniform.shape == (200, 500))
        u, z = uniform.astype(np.float64).ravel(), (normal.astype(np.float64).ravel() - 1.5) / 3
        check(f"uniform range {name}", u.min() >= -2 and u.max() <= 4 and u.min() < -1.99 and u.max() > 3.99)
        counts = np.histogram(u, 60, (-2, 4))[0]
        chi = ((counts - n / 60) ** 2 / (n / 60)).sum()
        check(f"uniform chi square {name}", 20 < chi < 110, chi)  # 59 degrees of freedom
        check(f"uniform neighbours {name}", abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.016)
        for power, moment, spread in ((1, 0, 1), (2, 1, np.sqrt(2)), (3, 0, np.sqrt(15)), (4, 3, np.sqrt(96))):
            check(f"normal moment {power} {name}", close((z**power).mean(), moment, spread, n), (z**power).mean())
        check(f"normal tails {name}", close((np.abs(z) > 3).mean(), 0.0027, np.sqrt(0.0027), n))


def check_bernoulli():
    p = np.repeat(np.array([0, 0.1, 0.5, 1], np.float32), 20_000)
    y, flags = Compiled([helper.make_node("Bernoulli", ["p"], ["y"]), helper.make_node("Bernoulli", ["p"], ["b"], dtype=BOOL)],
                        ["y", "b"], [("p", F32, ["n"])]).once(p=p)
    check("bernoulli values", set(np.unique(y)) == {0, 1} and flags.dtype == np.bool_)
    for q, part in zip((0, 0.1, 0.5, 1), y.reshape(4, -1)):
        check(f"bernoulli {q}", close(part.mean(), q, np.sqrt(q * (1 - q)), 20_000), part.mean())


def check_multinomial():
    probability = np.array([[0.1, 0, 0.6, 0.3], [0.25, 0.25, 0.5, 0]])
    with np.errstate(divide="ignore"):
        logits = (np.log(probability) + 3).astype(np.float32)
    y, = Compiled([helper.make_node("Multinomial", ["x"], ["y"], sample_size=20_000, dtype=I64)], ["y"],
                  [("x", F32, ["n", "c"])]).once(x=logits)
    check("multinomial type", y.dtype == np.int64 and y.shape == (2, 20_000))
    for row, want in zip(y, probability):
        for c, q in enumerate(want):
            share = (row == c).mean()
            check(f"multinomial {q}", close(share, q, np.sqrt(q * (1 - q)), 20_000) and (q > 0 or share == 0), share)


def check_dropout():
    x = np.arange(1, 40_001, dtype=np.float32).reshape(200, 200)
    nodes = [helper.make_node("Dropout", ["x", "ratio", "training"], ["y", "mask"])]
    inputs = [("x", F32, ["n", "m"]), ("ratio", F32, []), ("training", BOOL, [])]
    for level in (2, 0):
        model = Compiled(nodes, ["y", "mask"], inputs, level=level)
        y, mask = model.once(x=x, ratio=np.float32(0.3), training=np.array(True))
        check(f"dropout share, --opt={level}", close(mask.mean(), 0.7, np.sqrt(0.21), x.size), mask.mean())
        check(f"dropout values, --opt={level}", np.allclose(y, np.where(mask, x / 0.7, 0), rtol=1e-6))
        for ratio, training in ((0.3, False), (0.0, True)):
            y, mask = model.once(x=x, ratio=np.float32(ratio), training=np.array(training))
            check(f"dropout {ratio} {training}, --opt={level}", mask.all() and np.array_equal(y, x))
    constants = [("ratio", np.float32(0.5)), ("training", np.array(True))]
    first, second = Compiled(nodes, ["y", "mask"], inputs[:1], constants).runs(2, x=x)
    check("dropout draws anew", not np.array_equal(first[1], second[1]))


def main():
    os.makedirs(os.path.join(BUILD, "conformance"), exist_ok=True)
    check_generator()
    check_reproducible()
    check_shared_use()
    check_loops()
    check_moments()
    check_bernoulli()
    check_multinomial()
    check_dropout()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
