#!/usr/bin/env python3
"""Time of a decoding step with keys and values of 32-bit floats and of 8 bits: one thread, caches from main memory.

    kv_cache.py [--contexts=0,1024,4096] [--layers=12] [--heads=12] [--key-heads=12] [--width=64] [--repeat=20]

The model is what reads the cache in GPT-2: in each layer a product that makes q, k and v of a row, attention over the cache, and a
product behind it; no feed-forward layers. A prompt fills the states, then single tokens follow; steps of both kinds alternate, and the
least time of one thread counts. What grows with the context is the cache's. Writes a table in Markdown.
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


def build(path, layers, heads, key_heads, width):
    rng, node = np.random.default_rng(0), helper.make_node
    model, rows = heads * width, (heads + 2 * key_heads) * width
    constants = [numpy_helper.from_array(np.array(v), n) for n, v in (
        ("sizes", [heads * width, key_heads * width, key_heads * width]), ("q_shape", [0, 0, heads, width]),
        ("k_shape", [0, 0, key_heads, width]), ("back", [0, 0, model]), ("two", [2]),
        ("group", [1, 1, heads // key_heads, 1, 1]), ("all_heads", [0, heads, -1, width]))]
    nodes, inputs, outputs, x = [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "step", model])], [], "x"

    def matrix(name, a, b):
        constants.append(numpy_helper.from_array(rng.standard_normal((a, b), np.float32) / np.float32(np.sqrt(a)), name))
        return name

    for i in range(layers):
        nodes += [node("MatMul", [x, matrix(f"w{i}", model, rows)], [f"r{i}"]), node("Split", [f"r{i}", "sizes"], [f"q{i}", f"k{i}", f"v{i}"], axis=2)]
        read = {}
        for n in "qkv":
            nodes += [node("Reshape", [f"{n}{i}", "q_shape" if n == "q" else "k_shape"], [f"{n}s{i}"]),
                      node("Transpose", [f"{n}s{i}"], [f"{n}h{i}"], perm=[0, 2, 1, 3])]
            read[n] = f"{n}h{i}"
            if n == "q":
                continue
            inputs.append(helper.make_tensor_value_info(f"past_{n}{i}", TensorProto.FLOAT, [1, key_heads, "length", width]))
            outputs.append(helper.make_tensor_value_info(f"present_{n}{i}", TensorProto.FLOAT, [1, key_heads, "all", width]))
            nodes.append(node("Concat", [f"past_{n}{i}", read[n]], [f"present_{n}{i}"], axis=2))
            read[n] = f"present_{n}{i}"
            if heads > key_heads:
                nodes += [node("Unsqueeze", [read[n], "two"], [f"{n}u{i}"]), node("Expand", [f"{n}u{i}", "group"], [f"{n}e{i}"]),
                          node("Reshape", [f"{n}e{i}", "all_heads"], [f"{n}a{i}"])]
                read[n] = f"{n}a{i}"
        nodes += [node("Transpose", [read["k"]], [f"t{i}"], perm=[0, 1, 3, 2]), node("MatMul", [read["q"], f"t{i}"], [f"s{i}"]),
                  node("Softmax", [f"s{i}"], [f"p{i}"], axis=-1), node("MatMul", [f"p{i}", read["v"]], [f"c{i}"]),
                  node("Transpose", [f"c{i}"], [f"b{i}"], perm=[0, 2, 1, 3]), node("Reshape", [f"b{i}", "back"], [f"o{i}"]),
                  node("MatMul", [f"o{i}", matrix(f"m{i}", model, model)], [f"y{i}"])]
        x = f"y{i}"
    outputs.insert(0, helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, "step", model]))
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", default="0,1024,4096")
    for name, size in (("layers", 12), ("heads", 12), ("key-heads", 12), ("width", 64), ("repeat", 20)):
        parser.add_argument("--" + name, type=int, default=size)
    options = parser.parse_args()
    contexts, sessions, best, held = [int(c) for c in options.contexts.split(",")], {}, {}, {}
    model_width, rng = options.heads * options.width, np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.onnx")
        build(model, options.layers, options.heads, options.key_heads, options.width)
        for kind in ("f32", "int8"):
            artifact = os.path.join(folder, kind + ".so")
            nnopt.compile(model, artifact, ["--quiet", f"--kv-cache={kind}"])
            sessions[kind] = nnopt.Session(artifact, 1)
            for name in [i.name for i in sessions[kind].inputs[1:]]:
                sessions[kind].bind_state(name, name.replace("past", "present"), max(contexts) + options.repeat + 1)
        for context in contexts:
            prompt = rng.standard_normal((1, context, model_width), np.float32)
            for session in sessions.values():
                session.reset_states()
                if context:
                    session.run([], {"x": prompt})
            for _ in range(options.repeat):
                x = rng.standard_normal((1, 1, model_width), np.float32)
                for kind, session in sessions.items():
                    session.prepare({"x": x})
                    with best.setdefault((kind, context), LeastTime()):
                        session.step()
        for kind, session in sessions.items():
            held[kind] = session.memory().other / 1e6
    print("| cache | MB | " + " | ".join(f"{c} tokens, ms" for c in contexts) + " |")
    print("|---|---|" + "---|" * len(contexts))
    for kind in sessions:
        cells = [f"{best[kind, c].ms:.2f} ({best['f32', c].ms / best[kind, c].ms:.2f} x)" for c in contexts]
        print(f"| {kind} | {held[kind]:.0f} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
