#!/usr/bin/env python3
"""Products of few rows with weights in fewer bits: time of one thread, weights from main memory.

    decode.py [--rows=1,4,64] [--kinds=f32,bf16,f16,int8,int4] [--layers=12] [--vocabulary=50257] [--repeat=20]

The model is a chain of matrix products with the sizes of GPT-2's (768 x 768, 768 x 3072, 3072 x 768 in each layer, and the
vocabulary at the end), so that weights do not stay in cache from run to run. `int8` has a scale for each column, `int4` for
each group of 32, `int4z` zero points besides; `int8a8` and `int4a8` round the rows to 8 bits, too, with a scale for each. Runs of all kinds alternate; the least time of one thread counts. MB are those of the
weights. Writes a table in Markdown.
"""
import argparse
import os
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402
from least_time import LeastTime  # noqa: E402

GROUP = 32


def nibbles(name, values):
    flat = values.astype(np.int8).reshape(-1, 2) & 15
    return helper.make_tensor(name, TensorProto.INT4, values.shape, (flat[:, 0] | flat[:, 1] << 4).astype(np.uint8).tobytes(), raw=True)


def weights(kind, name, w):
    """Initializers and the node that makes f32 weights of them."""
    if kind == "f32":
        return [numpy_helper.from_array(w, name)], []
    if kind in ("f16", "bf16"):
        bits = w.astype(np.float16).view(np.uint16) if kind == "f16" else (w.view(np.uint32) >> 16).astype(np.uint16)
        data_type = TensorProto.FLOAT16 if kind == "f16" else TensorProto.BFLOAT16
        return ([helper.make_tensor(name + "h", data_type, w.shape, bits.tobytes(), raw=True)],
                [helper.make_node("Cast", [name + "h"], [name], to=TensorProto.FLOAT)])
    if kind == "int8":
        scale = np.abs(w).max(0) / 127
        return ([numpy_helper.from_array(np.rint(w / scale).astype(np.int8), name + "q"), numpy_helper.from_array(scale, name + "s")],
                [helper.make_node("DequantizeLinear", [name + "q", name + "s"], [name], axis=1)])
    blocks = w.reshape(-1, GROUP, w.shape[1])
    scale = np.abs(blocks).max(1) / 7
    constants = [nibbles(name + "q", np.rint(blocks / scale[:, None]).reshape(w.shape)), numpy_helper.from_array(scale, name + "s")]
    inputs = [name + "q", name + "s"]
    if kind == "int4z":
        constants.append(nibbles(name + "z", np.random.default_rng(0).integers(-2, 3, scale.shape)))
        inputs.append(name + "z")
    return constants, [helper.make_node("DequantizeLinear", inputs, [name], axis=0, block_size=GROUP)]


def bytes_of(x, name, depth):
    """Nodes that round each row of x to 8 bits, and the name of what comes out."""
    step = lambda op, inputs, output, **attributes: helper.make_node(op, inputs, [name + output], name=name + output, **attributes)
    block = {"axis": 1, "block_size": depth}
    return [step("Abs", [x], "a"), step("ReduceMax", [name + "a", "last"], "m", keepdims=1), step("Mul", [name + "m", "step"], "s"),
            step("QuantizeLinear", [x, name + "s"], "q", output_dtype=TensorProto.INT8, **block),
            step("DequantizeLinear", [name + "q", name + "s"], "r", **block)], name + "r"


def build(path, kind, layers, vocabulary):
    rng = np.random.default_rng(0)
    constants = [numpy_helper.from_array(np.array([1]), "last"), numpy_helper.from_array(np.float32(1 / 127), "step")]
    nodes, x = [], "x"
    sizes = [(768, 768), (768, 3072), (3072, 768)] * layers + [(768, vocabulary)]
    for i, (depth, columns) in enumerate(sizes):
        w = rng.standard_normal((depth, columns), dtype=np.float32) / np.float32(np.sqrt(depth))
        made, widening = weights(kind.removesuffix("a8"), f"w{i}", w)
        constants += made
        if kind.endswith("a8"):
            rounding, x = bytes_of(x, f"b{i}", depth)
            nodes += rounding
        # Something between products: a chain of nothing else would become one of them.
        nodes += widening + [helper.make_node("MatMul", [x, f"w{i}"], [f"y{i}"]), helper.make_node("Tanh", [f"y{i}"], [f"x{i}"])]
        x = f"x{i}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["rows", 768])],
                              [helper.make_tensor_value_info(x, 1, ["rows", vocabulary])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1,4,64")
    parser.add_argument("--kinds", default="f32,bf16,f16,int8,int4")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    kinds, rows = options.kinds.split(","), [int(r) for r in options.rows.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for kind in kinds:
            model, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, kind + ".so")
            build(model, kind, options.layers, options.vocabulary)
            nnopt.compile(model, artifact, ["--quiet"])
            os.remove(model)
            sessions[kind] = nnopt.Session(artifact, 1)
        best = {}
        for r in rows:
            x = np.random.default_rng(1).standard_normal((r, 768)).astype(np.float32)
            for _ in range(options.repeat):
                for kind, session in sessions.items():
                    with best.setdefault((kind, r), LeastTime()):
                        session.run(None, {"x": x})
        print("| weights | MB | " + " | ".join(f"{r} row{'s' if r > 1 else ''}, ms" for r in rows) + " |")
        print("|---|---|" + "---|" * len(rows))
        for kind in kinds:
            cells = [f"{best[kind, r].ms:.2f} ({best[kinds[0], r].ms / best[kind, r].ms:.2f} x)" for r in rows]
            print(f"| {kind} | {sessions[kind].memory().weights / 1e6:.0f} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
