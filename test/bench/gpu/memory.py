#!/usr/bin/env python3
"""Kernels that are bound by memory, beside a copy on the same GPU, in one run.

    memory.py [--only=TEXT,...] [--json=FILE]

Each operation runs alone on large tensors on the GPU, in f32 and f16. GB/s are the bytes of its operands and results over its time
(CUPTI, the minimum of 10); the copy is PyTorch's of 512 MB, reads and writes counted. Needs PyTorch.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import architecture, in_parallel, kernel_times, nnopt, on_gpu
import numpy as np
from onnx import TensorProto, helper, numpy_helper
import onnx

FOLDER = os.path.join(nnopt.BUILD, "gpu")
ROWS = (65536, 1024)
IMAGE = (64, 64, 112, 112)


def node(op, inputs=("x",), **attributes):
    return helper.make_node(op, list(inputs), ["y"], **attributes)


# name -> nodes, shape of x, other inputs as name -> shape or constant
CASES = {
    "add, relu": ([helper.make_node("Add", ["x", "z"], ["s"]), node("Relu", ["s"])], ROWS, {"z": ROWS}),
    "gelu": ([node("Gelu")], ROWS, {}),
    "add row": ([node("Add", ["x", "b"])], ROWS, {"b": (ROWS[1],)}),
    "softmax": ([node("Softmax", axis=-1)], ROWS, {}),
    "layer norm": ([node("LayerNormalization", ["x", "g", "b"], axis=-1)], ROWS, {"g": (ROWS[1],), "b": (ROWS[1],)}),
    "reduce rows": ([node("ReduceMean", ["x", "axes"], keepdims=0)], ROWS, {"axes": np.array([1])}),
    "reduce columns": ([node("ReduceMean", ["x", "axes"], keepdims=0)], (64, 1024, 1024), {"axes": np.array([1])}),
    "transpose": ([node("Transpose", perm=[0, 2, 1])], (64, 1024, 1024), {}),
    "transpose heads": ([node("Transpose", perm=[0, 2, 1, 3])], (64, 1024, 16, 64), {}),
    "concat": ([node("Concat", ["x", "z"], axis=1)], ROWS, {"z": ROWS}),
    "gather rows": ([node("Gather", ["x", "i"])], ROWS, {"i": np.random.default_rng(0).permutation(ROWS[0])}),
    "max pool": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], IMAGE, {}),
    "global average pool": ([node("GlobalAveragePool")], IMAGE, {}),
    "resize": ([node("Resize", ["x", "", "scales"], mode="nearest")], (64, 64, 56, 56), {"scales": np.array([1, 1, 2, 2], np.float32)}),
}


def build(case, kind, arch):
    nodes, shape, others = CASES[case]
    onnx_type = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16}[kind]
    inputs, constants = [helper.make_tensor_value_info("x", onnx_type, shape)], []
    for name, what in others.items():
        if isinstance(what, tuple):
            inputs.append(helper.make_tensor_value_info(name, onnx_type, what))
        else:
            constants.append(numpy_helper.from_array(what, name))
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", onnx_type, None)], constants)
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, f"{case} {kind}.onnx".replace(" ", "_").replace(",", ""))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    out = path.replace(".onnx", ".so")
    nnopt.compile(path, out, ["--quiet", f"--gpu={arch}"])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arch, gpu = architecture()
    chosen = [(c, kind, arch) for c in CASES if any(text in c for text in arguments.only.split(",")) for kind in ("f32", "f16")]
    built = list(in_parallel(build, chosen))
    import torch
    source = torch.rand(1 << 27, device="cuda")
    target = torch.empty_like(source)
    copy = sum(us for _, _, us in kernel_times(lambda: target.copy_(source)))
    copied = 2 * source.nbytes / copy / 1e3
    del source, target
    print(f"{gpu}: a copy moves {copied:.0f} GB/s")
    records, data = [], np.random.default_rng(0)
    for (case, kind, _), made in built:
        try:
            if isinstance(made, Exception):
                raise made
            with nnopt.Session(made, device="cuda") as session:
                on_gpu(session, {i.name: data.random(i.shape, np.float32).astype(i.dtype) for i in session.inputs})
                tensors = [*(d[1][0] for d in session._alive[0]), *session.results]
                size = sum(t.nbytes for t in tensors)
                rows = kernel_times(session.step)
            us = sum(t for _, _, t in rows)
            records.append({"case": case, "type": kind, "us": us, "gbytes": size / us / 1e3, "share": size / us / 1e3 / copied})
            print(f"{case:20s} {kind} {us:8.1f} us {size / us / 1e3:6.0f} GB/s {100 * size / us / 1e3 / copied:4.0f} % of the copy  "
                  + ", ".join(name for name, _, _ in rows), flush=True)
            del tensors, session
        except Exception as error:  # of one case: the others go on
            print(f"{case:20s} {kind} FAILED {str(error).strip()[-300:]}", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"gpu": gpu, "copy": copied, "records": records}, f, indent=1)


if __name__ == "__main__":
    main()
