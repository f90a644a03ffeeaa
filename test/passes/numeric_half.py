#!/usr/bin/env python3
"""Random models with f16 in memory (--precision=f16), against --opt=0 in f32.

    numeric_half.py [--seed=N] [--count=N] [--only=KIND]

The models of numeric.py and numeric_attention.py of f32, and the same ones exported in f16: constants, inputs and results
are rounded before the model is compared with itself in f32. The CPU's code of the artifact runs the graph whose tensors are
f16. The largest difference relative to an output's scale may be 2e-2. Ends with `N passed, N failed`.
"""
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numeric
import numeric_attention
import nnopt  # noqa: E402
import seeds  # noqa: E402

KINDS = {**{k: build for k, (build, _) in numeric.KINDS.items()}, "attention": numeric_attention.build}
FLAGS = ["--gpu=sm_90", "--precision=f16"]
TOLERANCE = 2e-2


def halved(model):
    """The model in f16; its own constants get the values that f16 has."""
    half = onnx.ModelProto()
    half.CopyFrom(model)

    def tensor(t, h):
        if t.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(t).clip(-65504, 65504).astype(np.float16)
            t.CopyFrom(numpy_helper.from_array(value.astype(np.float32), t.name))
            h.CopyFrom(numpy_helper.from_array(value, t.name))

    def graph(g, h):
        for t, u in zip(g.initializer, h.initializer):
            tensor(t, u)
        for n, m in zip(g.node, h.node):
            for a, b in zip(n.attribute, m.attribute):
                if a.type == onnx.AttributeProto.TENSOR:
                    tensor(a.t, b.t)
                elif a.type == onnx.AttributeProto.GRAPH:
                    graph(a.g, b.g)
                elif n.op_type == "Cast" and a.i == TensorProto.FLOAT:
                    b.i = TensorProto.FLOAT16
        for v in [*h.input, *h.output, *h.value_info]:
            if v.type.tensor_type.elem_type == TensorProto.FLOAT:
                v.type.tensor_type.elem_type = TensorProto.FLOAT16

    graph(model.graph, half.graph)
    return half


def result(model, feeds, flags, folder, name):
    path, out = (os.path.join(folder, name + ending) for ending in (".onnx", ".so"))
    onnx.save(model, path)
    nnopt.compile(path, out, flags)
    with nnopt.Session(out) as session:
        return session.run(None, feeds)


def run(seed, kind, folder, arguments):
    graph = numeric.Graph(random.Random(seed), np.float32)
    model = KINDS[kind](graph)
    half = halved(model)
    feeds = {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in graph.feeds.items()}
    singles = {n: v.astype(np.float32) if v.dtype == np.float16 else v for n, v in feeds.items()}
    try:
        want = result(model, singles, ["--opt=0"], folder, "oracle")
        got = {"f32": result(model, singles, FLAGS, folder, "single"), "f16": result(half, feeds, FLAGS, folder, "half")}
    except RuntimeError as error:
        return [f"{kind} --seed={seed}: {error}"]
    errors = []
    for name, values in got.items():
        worst = max(nnopt.difference(g.astype(w.dtype), w) for g, w in zip(values, want))
        if not worst <= TOLERANCE:
            errors.append(f"{kind} --seed={seed}, model of {name}: differs by {worst:.2e} of the scale")
    return errors


if __name__ == "__main__":
    sys.exit(seeds.main(__doc__, KINDS, 4, run))
