#!/usr/bin/env python3
"""Matrix products and convolutions on the tensor cores of this GPU beside PyTorch (cuBLASLt, cuDNN), in one run.

    products.py [--only=TEXT,...] [--json=FILE]

For bf16, f16, tf32 and int8: 4096^3 and 8192^3, the products of bert_base (128 tokens, batch 1 and 32) and convolutions of
resnet50 (batch 1 and 64). Times are those of the kernels, by CUPTI, the minimum of 10 runs; ours has its inputs
rounded on the GPU first, which does not count. `error` compares the two results, relative to the scale. Needs a GPU and the
package torch.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import architecture, in_parallel, kernel_times, nnopt, on_gpu

TYPES = {"bf16": (TensorProto.BFLOAT16, torch.bfloat16), "f16": (TensorProto.FLOAT16, torch.float16),
         "tf32": (TensorProto.FLOAT, torch.float32), "int8": (TensorProto.INT8, torch.int8)}
PRODUCTS = [(4096, 4096, 4096), (8192, 8192, 8192)] + [(m, n, k) for m in (128, 4096) for n, k in ((768, 768), (3072, 768), (768, 3072))]
# batch, size, in, out, kernel, stride
CONVOLUTIONS = [(b, *c) for b in (1, 64) for c in ((56, 64, 64, 3, 1), (28, 128, 512, 1, 1), (14, 256, 256, 3, 1), (7, 512, 2048, 1, 1))]


def cases():
    for kind in TYPES:
        for m, n, k in PRODUCTS:
            yield f"{kind} product {m}x{n}x{k}", kind, ("product", m, n, k)
        if kind != "int8": # PyTorch has no convolution of bytes on GPUs
            for c in CONVOLUTIONS:
                yield f"{kind} conv {c[0]}x{c[1]}x{c[1]}x{c[2]} -> {c[3]}, {c[4]}x{c[4]}", kind, ("conv", *c)


def model(kind, case, path, data):
    """Writes the operation with constant weights; returns its input, weights and floating-point operations."""
    onnx_type = TYPES[kind][0]
    if case[0] == "product":
        _, m, n, k = case
        shape, weights, work = (m, k), (k, n), 2 * m * n * k
        op = helper.make_node("MatMulInteger" if kind == "int8" else "MatMul", ["a", "w"], ["p"])
    else:
        _, batch, size, ci, co, taps, stride = case
        shape, weights = (batch, ci, size, size), (co, ci, taps, taps)
        work = 2 * batch * (size // stride) ** 2 * ci * co * taps * taps
        op = helper.make_node("Conv", ["a", "w"], ["p"], pads=[taps // 2] * 4, strides=[stride] * 2)
    draw = (lambda s: data.integers(-128, 128, s).astype(np.float32)) if kind == "int8" else \
        (lambda s: data.standard_normal(s).astype(np.float32))
    x, w = draw(shape), draw(weights)
    tensor = onnx.TensorProto(name="w", data_type=onnx_type, dims=weights)
    tensor.raw_data = torch.from_numpy(w).to(TYPES[kind][1]).view(torch.uint8).numpy().tobytes()
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=onnx_type), op]
    result = "p"
    if kind != "tf32":
        nodes.append(helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT))
        result = "y"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path,
              save_as_external_data=tensor.ByteSize() > 1 << 30)
    return x, w, work


def build(name, kind, case, folder, seed, arch):
    path = os.path.join(folder, name.replace(" ", "_").replace(",", "") + ".onnx")
    x, w, work = model(kind, case, path, np.random.default_rng(seed))
    nnopt.compile(path, path + ".so", ["--quiet", f"--gpu={arch}"] + (["--precision=tf32"] if kind == "tf32" else []))
    np.save(path + ".x.npy", x)
    np.save(path + ".w.npy", w)
    return path, work


def ours(path, x):
    with nnopt.Session(path, device="cuda") as session:
        on_gpu(session, {"x": x})
        times = kernel_times(session.step)
        return sum(us for name, _, us in times if name.startswith("tensor_")), session.results[0].float().cpu().numpy()


def theirs(kind, case, x, w):
    dtype = TYPES[kind][1]
    a, b = torch.from_numpy(x).cuda().to(dtype), torch.from_numpy(w).cuda().to(dtype)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if case[0] == "conv":
        a, b = a.to(memory_format=torch.channels_last), b.to(memory_format=torch.channels_last)
        call = lambda: torch.nn.functional.conv2d(a, b, stride=case[6], padding=case[5] // 2)
    elif kind == "int8":
        # The layout that cuBLASLt is fastest with; it takes more than 16 rows.
        b = b.t().contiguous().t()
        call = lambda: torch._int_mm(a, b)
    else:
        call = lambda: torch.matmul(a, b)
    times = kernel_times(call)
    return sum(us for _, _, us in times), call().float().cpu().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arch, gpu = architecture()
    records = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = [(name, kind, case, folder, i, arch) for i, (name, kind, case) in enumerate(cases()) if any(text in name for text in arguments.only.split(","))]
        for (name, kind, case, *_), made in in_parallel(build, chosen):
            if isinstance(made, Exception):
                print(f"{name:44s} FAILED {str(made).strip()[-300:]}", flush=True)
                continue
            path, work = made
            x, w = (np.load(f"{path}.{v}.npy") for v in "xw")
            mine, result = ours(path + ".so", x)
            peer, want = theirs(kind, case, x, w)
            error = nnopt.difference(result, want)
            records.append({"name": name, "nnopt_us": mine, "torch_us": peer, "nnopt_tops": work / mine / 1e6, "error": error})
            print(f"{name:44s} {mine:9.1f} us {work / mine / 1e6:7.1f} T/s | torch {peer:9.1f} us | {peer / mine:5.2f}x | error {error:.1e}",
                  flush=True)
    print(f"{gpu}, PyTorch {torch.__version__}")
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"gpu": gpu, "records": records}, f, indent=1)


if __name__ == "__main__":
    main()
