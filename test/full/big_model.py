#!/usr/bin/env python3
"""A model with 2.5 GB of weights in an external file: compiled in less memory than it has weights, into one artifact
that computes the right thing.

    big_model.py [--layers=10]

Source pages must be dropped while weights are packed: the compiler's peak of resident memory is at most 0.6 of the
weights and 500 MB. Needs 5.2 GB of disk. Ends with `N passed, N failed`.
"""
import argparse
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import TensorProto, helper

from nnopt import BUILD, Session, compile

SIZE = 8000


def make(folder, layers):
    """y = tanh(x W0) W1 ...: each weight a matrix of 256 MB; blocks of it repeat, with a scale for each layer."""
    block = (np.random.default_rng(0).standard_normal((SIZE // 10, SIZE)) / np.sqrt(SIZE)).astype(np.float32)
    nodes, initializers, value = [], [], "x"
    with open(os.path.join(folder, "weights.bin"), "wb") as f:
        for layer in range(layers):
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[SIZE, SIZE], data_location=TensorProto.EXTERNAL)
            for key, text in (("location", "weights.bin"), ("offset", f.tell()), ("length", 4 * SIZE * SIZE)):
                tensor.external_data.add(key=key, value=str(text))
            initializers.append(tensor)
            for part in range(10):
                f.write((block * np.float32(1 + (10 * layer + part) / 100)).tobytes())
            nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"m{layer}"], f"m{layer}"))
            nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"t{layer}"], f"t{layer}"))
            value = f"t{layer}"
    graph = helper.make_graph(nodes, "big", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE])],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, SIZE])], initializers)
    path = os.path.join(folder, "big.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def expected(folder, layers, x):
    weights = np.memmap(os.path.join(folder, "weights.bin"), np.float32, "r", shape=(layers, SIZE, SIZE))
    for w in weights:
        x = np.tanh(x @ w)
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=10)
    options = parser.parse_args()
    passed, failed = 0, 0

    def check(what, holds, detail):
        nonlocal passed, failed
        passed, failed = passed + bool(holds), failed + (not holds)
        print(f"{'ok  ' if holds else 'FAIL'}  {what}: {detail}", flush=True)

    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        path, artifact = make(folder, options.layers), os.path.join(folder, "big.so")
        weights = os.path.getsize(os.path.join(folder, "weights.bin"))
        seconds, peak = compile(path, artifact, ["--quiet"], timeout=3000)
        limit = 0.6 * weights + 500e6
        check("memory of the compiler", peak <= limit, f"peak {peak / 1e6:.0f} MB, limit {limit / 1e6:.0f} MB, "
              f"weights {weights / 1e6:.0f} MB, {seconds:.0f} s")
        check("one artifact", os.listdir(folder).count("big.so") == 1 and os.path.getsize(artifact) >= weights,
              f"{os.path.getsize(artifact) / 1e6:.0f} MB")
        x = np.random.default_rng(1).standard_normal((1, SIZE)).astype(np.float32)
        with Session(artifact, 0) as session:
            got = session.run(None, {"x": x})[0]
        error = np.abs(got - expected(folder, options.layers, x)).max()
        check("outputs", error < 1e-3, f"largest difference {error:.1e}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
