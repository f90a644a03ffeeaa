#!/usr/bin/env python3
"""Random encoders on padded batches with --skip-padding: real tokens as onnxruntime computes them, zeros for the others.

    numeric_padding.py [--seed=N] [--count=N] [--keep=DIR]

Each case has tokens or vectors, positions or none, layers before or behind their normalization, a mask of some type that becomes an
addend or a condition of attention, fixed or dynamic sizes; batches with padding to the right, to the left, in between, everywhere or
nowhere; outputs for every token, for the first one, or both. The largest difference relative to an output's scale may be 1e-5.
All products of layers must be on [1, tokens, ...]. Also what is refused. Ends with `N passed, N failed`.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numeric
import checks
import nnopt

MASKS = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "bool": TensorProto.BOOL, "float32": TensorProto.FLOAT}


def input_of(g, name, type, array, symbols):
    g.inputs.append(helper.make_tensor_value_info(name, type, [s or d for s, d in zip(symbols, array.shape)]))
    g.feeds[name], g.shapes[name] = array, array.shape
    return name


def real_tokens(rng, batch, sequence):
    """[batch, sequence] of truth; a sequence without any real token only together with others."""
    kind = rng.choice(["right", "right", "left", "between", "all", "none of one"])
    mask = np.zeros((batch, sequence), bool)
    for i in range(batch):
        count = rng.randint(1, sequence)
        if kind == "right":
            mask[i, :count] = True
        elif kind == "left":
            mask[i, sequence - count:] = True
        elif kind == "between":
            mask[i, sorted(rng.sample(range(sequence), count))] = True
        else:
            mask[i] = kind == "all" or i > 0
    return mask


def encoder(rng):
    """(graph, model, mask, names of outputs for every token)"""
    g = numeric.Graph(rng, np.float32)
    heads, width, sequence, batch = rng.choice([1, 2, 3]), rng.choice([4, 8]), rng.choice([1, 2, 3, 7, 16]), rng.choice([1, 2, 3])
    hidden = heads * width
    dynamic = rng.random() < 0.6
    symbols = ["batch", "sequence"] if dynamic else [None, None]
    real = real_tokens(rng, batch, sequence)
    kind = rng.choice(list(MASKS))
    mask = input_of(g, "mask", MASKS[kind], real.astype(kind), symbols)
    shape = (batch, sequence, hidden)
    if rng.random() < 0.7:
        ids = input_of(g, "ids", TensorProto.INT64, g.data.integers(0, 20, (batch, sequence)), symbols)
        x = g.add("Gather", [g.normal([20, hidden]), ids], shape, axis=0)
    else:
        x = input_of(g, "vectors", TensorProto.FLOAT, g.data.standard_normal(shape).astype(np.float32), symbols + [None])
    if rng.random() < 0.5:
        x = g.add("Add", [x, g.normal([1, 16, hidden])] if sequence == 16 and not dynamic else [x, g.normal([hidden])], shape)

    def linear(v, n):
        to = g.shapes[v][:-1] + (n,)
        y = g.add("MatMul", [v, g.normal([g.shapes[v][-1], n], 1 / np.sqrt(g.shapes[v][-1]))], to)
        return g.add("Add", [y, g.normal([n])], to)

    def norm(v):
        return g.add("LayerNormalization", [v, g.normal([hidden]), g.normal([hidden])], g.shapes[v], axis=-1)

    truth = mask if kind == "bool" else g.add("Cast", [mask], real.shape, to=TensorProto.BOOL)
    truth = g.add("Unsqueeze", [truth, g.ints([1, 2])], (batch, 1, 1, sequence))

    def attention(v):
        def split(u):
            u = g.add("Reshape", [u, g.ints([0, 0, heads, width])], (batch, sequence, heads, width))
            return g.add("Transpose", [u], (batch, heads, sequence, width), perm=[0, 2, 1, 3])
        q, k, u = (split(linear(v, hidden)) for _ in range(3))
        scores = (batch, heads, sequence, sequence)
        k = g.add("Transpose", [k], (batch, heads, width, sequence), perm=[0, 1, 3, 2])
        s = g.add("Mul", [g.add("MatMul", [q, k], scores), g.number(width ** -0.5)], scores)
        if as_addend:
            s = g.add("Add", [s, g.add("Where", [truth, g.number(0), g.number(-1e9)], (batch, 1, 1, sequence))], scores)
        else:
            s = g.add("Where", [truth, s, g.number(-1e9)], scores)
        y = g.add("MatMul", [g.add("Softmax", [s], scores, axis=-1), u], (batch, heads, sequence, width))
        y = g.add("Transpose", [y], (batch, sequence, heads, width), perm=[0, 2, 1, 3])
        return linear(g.add("Reshape", [y, g.ints([0, 0, hidden])], shape), hidden)

    as_addend, before = rng.random() < 0.5, rng.random() < 0.5
    for _ in range(rng.choice([1, 2])):
        for part in (attention, lambda v: linear(g.add("Relu", [linear(v, 2 * hidden)], shape[:2] + (2 * hidden,)), hidden)):
            if before:
                x = g.add("Add", [x, part(norm(x))], shape)
            else:
                x = norm(g.add("Add", [part(x), x], shape))
    outputs = rng.choice(["tokens", "first", "both"])
    tokens = [x] if outputs != "first" else []
    if outputs != "tokens":
        first = g.add("Gather", [x, g.const(np.int64(0))], (batch, hidden), axis=1)
        linear(first, 3)
    return g, g.model(tokens), real, tokens


def tool(*arguments):
    return subprocess.run([nnopt.tool("nnopt-compile"), *arguments, "--cache-dir="], capture_output=True, text=True)


def check(rng, folder):
    """What is wrong with a random case; empty when nothing is."""
    g, model, real, tokens = encoder(rng)
    path, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    onnx.save(model, path)
    done = tool(path, "-o", artifact, "--skip-padding=mask")
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr}"
    want = nnopt.reference_session(path).run(None, g.feeds)
    with nnopt.Session(artifact, 1) as session:
        got = session.run(None, g.feeds)
    problems = []
    for output, a, b in zip(model.graph.output, got, want):
        scale = max(1.0, np.abs(b).max())
        if output.name in tokens:
            if np.abs(a[~real]).max(initial=0) != 0:
                problems.append(f"{output.name}: rows of masked tokens are not zero")
            a, b = a[real], b[real]
        else:  # of the first token, where that is real
            a, b = a[real[:, 0]], b[real[:, 0]]
        error = np.abs(a - b).max(initial=0) / scale
        if not error <= 1e-5:
            problems.append(f"{output.name}: error {error:.1e}")
    graph = tool(path, "--emit=nn", "--skip-padding=mask").stdout
    products = [line for line in graph.splitlines() if " nn.matmul " in line]
    if not any("(tensor<1x?x" in line for line in products):
        problems.append("no products of tokens alone")
    return "; ".join(problems)


def refusals(folder):
    """(name, what is wrong) of each"""
    g, model, _, _ = encoder(random.Random(1))
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    others = [i.name for i in model.graph.input if i.name != "mask"]
    for name, flag, code, says in [("no such input", "--skip-padding=attention_mask", 1, "is no input; inputs are: mask, " + others[0]),
                                   ("no mask", "--skip-padding=" + others[0], 0, None)]:
        done = tool(path, flag, "-o", os.path.join(folder, "r.so"))
        wrong = done.returncode != code or (says and says not in done.stderr)
        yield name, f"exit {done.returncode}: {done.stderr}" if wrong else ""
    # Attention of one image: no tokens.
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    mask = helper.make_tensor_value_info("mask", TensorProto.BOOL, [1, 8])
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Not", ["mask"], ["z"])]
    outputs = [helper.make_tensor_value_info(n, t, None) for n, t in (("y", TensorProto.FLOAT), ("z", TensorProto.BOOL))]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x, mask], outputs), opset_imports=[helper.make_opsetid("", 17)],
                                ir_version=8), path)
    done = tool(path, "--skip-padding=mask", "-o", os.path.join(folder, "r.so"))
    yield "nothing to skip", "" if done.returncode == 0 and "nothing is skipped" in done.stderr else done.stderr
    done = tool(path, "--skip-padding=x", "-o", os.path.join(folder, "r.so"))
    yield "rank", "" if done.returncode == 1 and "has to be numbers [batch, sequence]" in done.stderr else done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--keep", help="folder for the models of failing cases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(options.count):
            problem = check(random.Random(options.seed * 100003 + i), folder)
            if problem and options.keep:
                os.makedirs(options.keep, exist_ok=True)
                os.replace(os.path.join(folder, "model.onnx"), os.path.join(options.keep, f"{i}.onnx"))
            checks.check(f"case {i}", not problem, problem)
        for name, problem in refusals(folder):
            checks.check(name, not problem, problem)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
