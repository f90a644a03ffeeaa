"""f16 and bf16 for every x86-64 level: all values to f32, and f32 back, bit for bit; operators as on this CPU.

    half.py

Below x86-64-v3 CPUs have no instructions for f16, and few have any for bf16; kernels take the bits apart there, and must
not call functions that no library has (opening the artifact fails then). Levels that this CPU lacks are left out. Ends
with `N passed, N failed`.
"""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper
import nnopt

LEVELS = {"x86-64": "", "x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}
HALVES = {"f16": (TensorProto.FLOAT16, np.float16), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}
FLOAT = TensorProto.FLOAT


def floats(half):
    """f32 numbers around every rounding of `half`: all of its values, the middles between them, their neighbours, and some at random."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.arange(1 << 16, dtype=np.uint16).view(half).astype(np.float32)
        finite = np.sort(values[np.isfinite(values)])
        middles = finite[:-1] / 2 + finite[1:] / 2
        around = np.concatenate([values, middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(-np.inf))])
        bits = np.random.default_rng(0).integers(0, 1 << 32, 100000, np.uint64).astype(np.uint32)
    return np.concatenate([around, bits.view(np.float32), np.float32([65519.99, 65520, 3.4e38, np.inf, -np.inf, np.nan, 0.0, -0.0])])


# Operators that compare, choose and mask, as models of `x` [n, 11] and constants.
OPERATORS = {
    "Max": [("Max", ["x", "row"], {})],
    "Where": [("Less", ["x", "row"], {}), ("Where", ["0", "row", "x"], {})],
    "ArgMax": [("ArgMax", ["x"], {"axis": 1})],
    "TopK": [("TopK", ["x", "three"], {})],
    "MaxPool": [("Reshape", ["x", "image"], {}), ("MaxPool", ["0"], {"kernel_shape": [3, 3]})],
    "Softmax": [("Softmax", ["x"], {})],
    "Clip": [("Clip", ["x", "zero"], {})],
    "ReduceMax": [("ReduceMax", ["x"], {"keepdims": 0})],
}


def save(nodes, from_type, to_type, shape, path):
    """A model of nodes (operator, inputs, attributes); the first output of node i is named i."""
    made = [helper.make_node(op, inputs, [str(i)] + ["indices"] * (op == "TopK"), **attributes)
            for i, (op, inputs, attributes) in enumerate(nodes)]
    constants = [helper.make_tensor("row", from_type, [11], np.linspace(-1, 1, 11).astype(np.float32)),
                 helper.make_tensor("zero", from_type, [], [0.0]), helper.make_tensor("three", TensorProto.INT64, [1], [3]),
                 helper.make_tensor("image", TensorProto.INT64, [4], [1, -1, 12, 11])]
    used = {name for _, inputs, _ in nodes for name in inputs}
    graph = helper.make_graph(made, "half", [helper.make_tensor_value_info("x", from_type, shape)],
                              [helper.make_tensor_value_info(str(len(nodes) - 1), to_type, None)],
                              [c for c in constants if c.name in used])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def run(path, artifact, x, level, opt):
    nnopt.compile(path, artifact, ["--quiet", f"--target={level}", f"--opt={opt}"])
    with nnopt.Session(artifact) as session:
        return session.run(None, {"x": x})[0]


def same(a, b):
    """Equal bits, any NaN for a NaN."""
    isnan = np.isnan(b.astype(np.float32))
    return np.array_equal(np.isnan(a.astype(np.float32)), isnan) and a[~isnan].tobytes() == b[~isnan].tobytes()


def cases(name):
    """(title, nodes, types of input and output, shape, input, expected output or None: what `native` gives)"""
    half_type, half = HALVES[name]
    values, numbers = np.arange(1 << 16, dtype=np.uint16).view(half), floats(half)
    cast = lambda to: [("Cast", ["x"], {"to": to})]
    with np.errstate(over="ignore", invalid="ignore"):
        yield f"{name} to f32", cast(FLOAT), half_type, FLOAT, ["n"], values, values.astype(np.float32)
        yield f"f32 to {name}", cast(half_type), FLOAT, half_type, ["n"], numbers, numbers.astype(half)
    x = np.random.default_rng(1).standard_normal((24, 11)).astype(half)
    for title, nodes in OPERATORS.items():
        yield f"{title} of {name}", nodes, half_type, TensorProto.INT64 if title == "ArgMax" else half_type, ["n", 11], x, None


def main():
    with open("/proc/cpuinfo") as f:
        flags = f.read().split()
    levels = [level for level, flag in LEVELS.items() if not flag or flag in flags]
    print("".join(f"skipped: {level}, which this CPU is not\n" for level in LEVELS if level not in levels), end="")
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
        for title, nodes, from_type, to_type, shape, x, want in (c for name in HALVES for c in cases(name)):
            save(nodes, from_type, to_type, shape, path)
            if want is None:
                want = run(path, artifact, x, "native", 0)
            for level, opt in ((level, opt) for level in levels for opt in (2, 0)):
                try:
                    got = run(path, artifact, x, level, opt)
                    # Exponentials of vectors are other ones than those of numbers.
                    good = nnopt.difference(got, want) < 2.0 ** -7 if "Softmax" in title else same(got.view(want.dtype), want)
                    why = "other values"
                except RuntimeError as e:
                    good, why = False, str(e)
                passed, failed = passed + good, failed + (not good)
                if not good:
                    print(f"FAILED {title} for {level} at --opt={opt}: {why}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
