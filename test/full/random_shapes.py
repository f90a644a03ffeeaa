#!/usr/bin/env python3
"""Memory does not grow with the number of shapes that a session has seen.

    random_shapes.py [--runs=10000]

Models with symbolic sizes, sizes that depend on data, loops and strings run with other sizes each time, after the
largest one. Between the first tenth of the runs and the last, resident memory may grow by 1 MB.
Ends with `N passed, N failed`.
"""
import argparse
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnopt import BUILD, Session, compile

F32, I64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
LIMIT = 2**20


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, f"{op}_{outputs[0]}", **attributes)


def model(nodes, inputs, outputs, weights=None):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_empty_tensor_value_info(o) for o in outputs],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def cases(rng):
    """(name, model, feeds of a size up to 1)."""
    w = {"k": rng.standard_normal((8, 3, 3, 3)).astype(np.float32), "m": rng.standard_normal((8, 5)).astype(np.float32)}
    convolution = [node("Conv", ["x", "k"], ["a"], pads=[1] * 4), node("Relu", ["a"], ["b"]), node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2]),
                   node("ReduceMean", ["c"], ["d"], keepdims=0), node("GlobalAveragePool", ["b"], ["e"]),
                   node("Flatten", ["e"], ["f"]), node("MatMul", ["f", "m"], ["y"])]
    yield ("convolution", model(convolution, [("x", F32, ["n", 3, "h", "w"])], ["y", "c"], w),
           lambda s: {"x": rng.standard_normal((s(1, 4), 3, s(2, 64), s(2, 64))).astype(np.float32)})
    shaped = [node("NonZero", ["x"], ["i"]), node("Transpose", ["i"], ["t"]), node("GatherND", ["x", "t"], ["v"]), node("Unique", ["v"], ["y"]),
              node("Shape", ["v"], ["z"])]
    yield ("sizes from data", model(shaped, [("x", F32, ["n", "m"])], ["y", "z"]),
           lambda s: {"x": np.round(rng.standard_normal((s(1, 40), s(1, 400)))).astype(np.float32)})
    body = helper.make_graph([node("Add", ["c", "c0"], ["o"]), node("Identity", ["go"], ["again"]), node("Identity", ["o"], ["row"])], "body",
                             [helper.make_tensor_value_info("i", I64, []), helper.make_tensor_value_info("go", BOOL, []),
                              helper.make_tensor_value_info("c", F32, None)],
                             [helper.make_empty_tensor_value_info(o) for o in ("again", "o", "row")])
    yield ("loop", model([node("Identity", ["x"], ["c0"]), node("Loop", ["n", "", "x"], ["y", "rows"], body=body)],
                         [("n", I64, []), ("x", F32, ["a", "b"])], ["y", "rows"]),
           lambda s: {"n": np.int64(s(0, 20)), "x": rng.standard_normal((s(1, 20), s(1, 50))).astype(np.float32)})
    yield ("strings", model([node("StringConcat", ["x", "x"], ["y"])], [("x", STRING, ["n"])], ["y"]),
           lambda s: {"x": np.array(["word" * s(1, 9) for _ in range(s(1, 200))], object)})


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10000)
    options = parser.parse_args()
    passed = failed = 0
    for name, proto, feeds in cases(np.random.default_rng(0)):
        rng = np.random.default_rng(1)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            path, artifact = os.path.join(folder, "m.onnx"), os.path.join(folder, "m.so")
            onnx.save(proto, path)
            compile(path, artifact, ["--quiet"])
            with Session(artifact) as session:
                session.run(None, feeds(lambda low, high: high))
                for run in range(options.runs):
                    session.run(None, feeds(lambda low, high: int(rng.integers(low, high, endpoint=True))))
                    if run == options.runs // 10:
                        first = resident()
                grown = resident() - first
        holds = grown <= LIMIT
        passed, failed = passed + holds, failed + (not holds)
        print(f"{'ok  ' if holds else 'FAIL'}  {name}: {options.runs} runs, {grown / 1024:.0f} KiB more at the end than after a tenth", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
