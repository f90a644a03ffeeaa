"""Kernels in memory that is full of denormal numbers.

A kernel may compute on memory that holds nothing, such as the rows that fill up a tile, as long as nothing comes of it. What others left
there may be denormal numbers, bytes of theirs for example; each multiplication with one costs Intel's cores more than a hundred
cycles. So nothing of the kind is multiplied: every model runs once on one thread in such memory, and the CPU says whether an
operand was denormal. Values of the models themselves are between 0.5 and 1.5. Prints `N passed, N failed`.
"""
import os
import platform
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

rng = np.random.default_rng(0)


def values(*shape):
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)


def model(op, inputs, weights=(), **attributes):
    """One operation, its inputs by shape (names are sizes that are not known) and its constants."""
    names = [f"x{i}" for i in range(len(inputs))]
    constants = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    node = helper.make_node(op, names + [c.name for c in constants], ["y"], **attributes)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, inputs)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def conv(batch, size, channels, out, kernel, **attributes):
    group = attributes.get("group", 1)
    return model("Conv", [[batch, channels, size, size]], [values(out, channels // group, kernel, kernel) / (kernel * kernel * channels)],
                 pads=[kernel // 2] * 4, **attributes)


# Name: the model and, where sizes are not known, what they are.
CASES = {
    "winograd": (conv(1, 28, 16, 16, 3), 1),
    "winograd, batch": (conv("n", 28, 16, 16, 3), 1),
    "winograd, few positions": (conv(1, 7, 64, 64, 3), 1),
    "winograd, channels that fill no vector": (conv(3, 14, 20, 24, 3), 1),
    "conv 5x5": (conv(1, 13, 6, 10, 5), 1),
    "conv 1x1": (conv("n", 7, 20, 36, 1), 3),
    "conv with a stride": (conv(1, 15, 12, 20, 3, strides=[2, 2]), 1),
    "depthwise": (conv(1, 13, 20, 20, 3, group=20), 1),
    "groups": (conv(1, 9, 24, 12, 3, group=4), 1),
    "transposed": (model("ConvTranspose", [[1, 10, 9, 9]], [values(10, 6, 3, 3) / 90], strides=[2, 2]), 1),
    "matmul": (model("MatMul", [["n", 37]], [values(37, 45) / 37]), 13),
    "matmul of two": (model("MatMul", [["n", 5, 37], ["n", 37, 11]]), 3),
    "one row": (model("MatMul", [[1, 130]], [values(130, 70) / 130]), 1),
    "many zeros": (model("MatMul", [[21, 130]], [np.where(rng.random((130, 70)) < 0.95, 0, values(130, 70)).astype(np.float32)]), 1),
    "gemm": (model("Gemm", [["n", 19]], [values(23, 19) / 19, values(23)], transB=1), 9),
    "attention": (model("Attention", [["n", 2, 11, 24]] * 3), 2),
    "attention of one token": (model("Attention", [[1, 2, 1, 24], [1, 2, "n", 24], [1, 2, "n", 24]]), 19),
    "lstm": (model("LSTM", [[5, 3, 10]], [values(1, 28, 10) / 10, values(1, 28, 7) / 10], hidden_size=7), 1),
    "gru": (model("GRU", [[5, 3, 10]], [values(1, 21, 10) / 10, values(1, 21, 7) / 10], hidden_size=7), 1),
    "softmax": (model("Softmax", [["n", 37]]), 5),
    "layer norm": (model("LayerNormalization", [["n", 37]], [values(37)]), 5),
    "mean": (model("ReduceMean", [["n", 37, 11]], [np.array([1])]), 3),
    "maximum of windows": (model("MaxPool", [[1, 10, 13, 13]], kernel_shape=[3, 3], strides=[2, 2]), 1),
    "mean of windows": (model("AveragePool", [[1, 10, 13, 13]], kernel_shape=[3, 3], pads=[1] * 4), 1),
}


def check(graph, size, folder):
    """Whether an operand was denormal."""
    path, out = (os.path.join(folder, n) for n in ("model.onnx", "model.so"))
    onnx.save(graph, path)
    nnopt.compile(path, out, ["--quiet"])
    feeds = {i.name: values(*[d.dim_value or size for d in i.type.tensor_type.shape.dim]) for i in graph.graph.input}
    with nnopt.Session(out, 1, garbage=True) as session:
        session.prepare(feeds)
        session.garbage.nnopt_test_denormals()
        session.step()
        return session.garbage.nnopt_test_denormals()


def main():
    if platform.machine() != "x86_64":
        print("skipped: no x86-64\n0 passed, 0 failed")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (graph, size) in CASES.items():
            if check(graph, size, folder):
                failed += 1
                print(f"{name}: a denormal number was an operand")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
