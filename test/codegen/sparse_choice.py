"""Where weights with zeros are skipped and where not, and what is said about it.

Models of one layer with a known share of zeros are compiled with a report: its remark of `skip-zeros`, the emitter of the
layer, and the size of the weights in the artifact must be as they should. Prints `N passed, N failed`.
"""
import json
import os
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

rng = np.random.default_rng(0)


def weights(shape, zeros, block=1):
    """`block`: neighbours in the last dimension that are zero together."""
    w = rng.standard_normal(shape).astype(np.float32)
    w[(rng.random([*shape[:-1], shape[-1] // block]) < zeros).repeat(block, -1)] = 0
    return w


def model(op, dims, w, **attributes):
    nodes = [helper.make_node(op, ["x", "w"], ["y"], name="layer", **attributes)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(dims))],
                              [numpy_helper.from_array(w, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def matmul(rows, zeros, k=256, n=256, block=1):
    return model("MatMul", [rows, k], weights([k, n], zeros, block))


def byte_matmul(rows, zeros, k=256, n=256):
    w = weights([k, n], zeros)
    w = np.where(w == 0, 0, np.clip(np.round(w * 40), 1, 127)).astype(np.int8)
    constants = [("w", w), ("s", np.float32(0.02)), ("z", np.uint8(128)), ("ws", np.float32(0.01)), ("wz", np.int8(0))]
    node = helper.make_node("QLinearMatMul", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"], name="layer")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, k])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8, [rows, n])],
                              [numpy_helper.from_array(v, name) for name, v in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def conv(size, zeros, kernel, channels=64):
    return model("Conv", [1, channels, size, size], weights([channels, channels, kernel, kernel], zeros), pads=[kernel // 2] * 4)


# Name: model, flags, emitter, (kind of remark, text in it) or None, weight bytes relative to the dense ones (at most).
CASES = {
    "product with many zeros": (matmul(128, 0.9), [], "matmul-sparse", ("passed", "% of the weights are zero and are skipped: estimated"), 0.16),
    "one that is not wanted": (matmul(128, 0.9), ["--sparse=off"], "matmul-tiled", None, 1),
    "plain loops": (matmul(128, 0.9), ["--opt=0"], "matmul-loops", None, 1),
    "few zeros": (matmul(16, 0.5), [], "matmul-tiled", ("missed", "x the time of the dense kernel"), 1),
    "few zeros, by order": (matmul(16, 0.5), ["--sparse=on"], "matmul-sparse", ("passed", "are skipped in blocks"), 1.04),
    "hardly any zeros are not counted": (matmul(128, 0.1), [], "matmul-tiled", None, 1),
    "no zeros, by order": (matmul(128, 0), ["--sparse=on"], "matmul-sparse", ("passed", "0.0% of the weights"), 1.3),
    "one row": (matmul(1, 0.8), [], "matmul-tiled", ("missed", "x the time of the dense kernel"), 1),
    "unknown rows": (matmul("n", 0.8), [], "matmul-tiled", ("missed", "x the time of the dense kernel"), 1),
    "unknown rows, nearly all zeros": (matmul("n", 0.99, k=4096), [], "matmul-sparse", ("passed", "are skipped: estimated"), 0.16),
    "the same where fewer rows cost less": (matmul("n", 0.99, k=4096), ["--target=znver4"], "matmul-sparse",
                                            ("passed", "are skipped in blocks"), 0.16),
    "bytes, two units of 512 bits": (byte_matmul(128, 0.9), [], "matmul-tiled", ("missed", "x the time of the dense kernel"), 1.1),
    "bytes, one unit": (byte_matmul(128, 0.9), ["--target=znver4"], "matmul-sparse", ("passed", "are skipped"), 0.6),
    "blocks": (matmul(128, 0.8, block=16), [], "matmul-sparse", ("passed", "are skipped in blocks of 16 out channels"), 0.25),
    "blocks, one row": (matmul(1, 0.8, block=16), [], "matmul-sparse", ("passed", "in blocks of 16 out channels"), 0.25),
    "blocks, unknown rows": (matmul("n", 0.8, block=16), [], "matmul-sparse", ("passed", "in blocks of 16 out channels"), 0.25),
    "blocks of which few are zero": (matmul(128, 0.1, block=16), [], "matmul-tiled", None, 1),
    "blocks, AVX2": (matmul(128, 0.8, block=8), ["--target=x86-64-v3"], "matmul-sparse", ("passed", "in blocks of 8 out channels"), 0.27),
    "1x1 convolution": (conv(28, 0.9, 1), [], "conv-sparse", ("passed", "are skipped"), 0.2),
    "3x3 convolution": (conv(28, 0.97, 3), [], "conv-sparse", ("passed", "are skipped"), 0.1),
    "Winograd's algorithm is faster": (conv(28, 0.6, 3), [], "conv-winograd", ("missed", "x the time of the dense kernel"), 5),
    "AVX2": (matmul(128, 0.9), ["--target=x86-64-v3"], "matmul-sparse", ("passed", "are skipped"), 0.16),
    "a target whose costs are not known": (matmul(128, 0.9), ["--target=x86-64-v2"], "matmul-tiled", None, 1),
}


def check(name, folder):
    graph, flags, emitter, remark, share = CASES[name]
    path, out, report = (os.path.join(folder, f) for f in ("model.onnx", "model.so", "report.json"))
    onnx.save(graph, path)
    nnopt.compile(path, out, ["--quiet", f"--report={report}", "--target=x86-64-v4", *flags])
    with open(report) as f:
        data = json.load(f)
    layers = [layer["emitter"] for layer in data["layers"] if layer["op"] in ("matmul", "conv")]
    errors = [] if all(emitter in e for e in layers) and layers else [f"the emitters are {layers}, not {emitter}"]
    remarks = [(r["kind"], r["message"]) for r in data["remarks"] if r["name"] == "skip-zeros"]
    if remark is None and remarks or remark and not (len(remarks) == 1 and remarks[0][0] == remark[0] and remark[1] in remarks[0][1]):
        errors.append(f"the remarks are {remarks}, not {remark}")
    dense = numpy_helper.to_array(graph.graph.initializer[0]).nbytes
    bytes_now = data["totals"]["weight_bytes"]
    if bytes_now > share * dense + 2048:
        errors.append(f"the weights have {bytes_now} bytes, of {dense} dense ones")
    return errors


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in CASES:
            errors = check(name, folder)
            for error in errors:
                print(f"{name}: {error}")
            passed, failed = passed + (not errors), failed + bool(errors)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
