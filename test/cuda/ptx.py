#!/usr/bin/env python3
"""The code of tensor-core kernels: what is in the PTX, and what NVIDIA's assembler makes of it where it is installed.

    ptx.py [--update]

Counts of instructions and, from ptxas, registers and bytes of spills are compared with ptx.json beside this file; --update
writes it. Without ptxas (on PATH or in CUDA_HOME) only the PTX is checked, and the last line but one says so.
Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ptx.json")
ARCHITECTURES = ["sm_80", "sm_90"]
COUNTED = {"mma": r"\bmma\.sync\.", "wgmma": r"wgmma\.mma_async\.", "ldmatrix": r"ldmatrix\.", "copies": r"cp\.async\.c[ag]\.", "commits": r"cp\.async\.commit_group",
           "waits": r"cp\.async\.wait_group", "barriers": r"bar(rier)?\.(cta\.)?sync", "local": r"\.local"}
TYPES = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "tf32": TensorProto.FLOAT, "int8": TensorProto.INT8}


def product(kind, m, n, k, constant=True):
    """A product whose left operand is cast first, so that it lies in memory as it is multiplied."""
    op = "MatMulInteger" if kind == "int8" else "MatMul"
    weights = []
    if constant:
        weights = [helper.make_tensor("w", TYPES[kind], [k, n], np.zeros(k * n * (1 if kind == "int8" else 4 if kind == "tf32" else 2),
                                                                         np.uint8).tobytes(), raw=True)]
    inputs = [("x", [m, k])] + ([] if constant else [("v", [k, n])])
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=TYPES[kind])]
    if not constant:
        nodes.append(helper.make_node("Cast", ["v"], ["w"], to=TYPES[kind]))
    nodes += [helper.make_node(op, ["a", "w"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)]
    return model(nodes, inputs, weights)


def convolution(kind, size, ci, co, taps):
    w = helper.make_tensor("w", TYPES[kind], [co, ci, taps, taps],
                           np.zeros(co * ci * taps * taps * (4 if kind == "tf32" else 2), np.uint8).tobytes(), raw=True)
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=TYPES[kind]),
             helper.make_node("Conv", ["a", "w"], ["p"], pads=[taps // 2] * 4), helper.make_node("Relu", ["p"], ["r"]),
             helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT)]
    return model(nodes, [("x", [8, ci, size, size])], [w])


def attention(kind, heads, length, width):
    shape = [1, heads, length, width]
    nodes = [helper.make_node("Cast", [n], [n + "c"], to=TYPES[kind]) for n in "qkv"]
    nodes += [helper.make_node("Attention", ["qc", "kc", "vc"], ["p"], is_causal=1), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)]
    return model(nodes, [(n, shape) for n in "qkv"], [], opset=23)


def narrow(kind, m, n, k, group=64):
    """A product with weights of 4 bits in groups."""
    w = helper.make_tensor("q", TensorProto.INT4, [k, n], np.zeros(k * n // 2, np.uint8).tobytes(), raw=True)
    scales = helper.make_tensor("s", TYPES[kind], [k // group, n], np.zeros(k // group * n * (4 if kind == "tf32" else 2), np.uint8).tobytes(),
                                raw=True)
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=TYPES[kind]), helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=group),
             helper.make_node("MatMul", ["a", "w"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)]
    return model(nodes, [("x", [m, k])], [w, scales], opset=23)


def model(nodes, inputs, weights, opset=17):
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [value("y", None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)


CASES = {
    "f16 4096": product("f16", 4096, 4096, 512), "bf16 4096": product("bf16", 4096, 4096, 512),
    "tf32 4096": product("tf32", 4096, 4096, 512), "int8 4096": product("int8", 4096, 4096, 512),
    "bf16 4096 of variables": product("bf16", 4096, 4096, 512, constant=False),
    "tf32 4096 of variables": product("tf32", 4096, 4096, 512, constant=False),
    "bf16 128x768": product("bf16", 128, 768, 768), "bf16 1x4096": product("bf16", 1, 4096, 4096),
    "f16 conv 56x56x64": convolution("f16", 56, 64, 64, 3), "f16 conv 56x56x3": convolution("f16", 56, 3, 64, 3),
    "tf32 conv 28x28x128": convolution("tf32", 28, 128, 512, 1),
    "f16 attention 12x128x64": attention("f16", 12, 128, 64), "bf16 attention 32x2048x128": attention("bf16", 32, 2048, 128),
    "f16 attention 64x1024x64": attention("f16", 64, 1024, 64), "tf32 attention 12x512x64": attention("tf32", 12, 512, 64),
    "f16 attention 16x1024x256": attention("f16", 16, 1024, 256),
    "f16 4-bit 4096": narrow("f16", 4096, 4096, 512), "bf16 4-bit 128x768": narrow("bf16", 128, 768, 768),
    "tf32 4-bit 256x4096": narrow("tf32", 256, 4096, 512),
}


def texts(path):
    """The PTX of each architecture in an artifact."""
    with open(path, "rb") as f:
        content = f.read()
    found = {}
    for text in re.findall(rb"//\n// Generated by LLVM NVPTX Back-End[^\0]*", content):
        found[re.search(rb"\.target (sm_\d+a?)", text).group(1).decode()] = text.decode()
    return found


def entries(text):
    """The kernels for tensor cores and their PTX."""
    parts = re.split(r"^\.visible \.entry (\w+)", text, flags=re.M)
    return {name: body for name, body in zip(parts[1::2], parts[2::2]) if name.startswith("tensor_")}


def count(body):
    return {what: len(re.findall(pattern, body)) for what, pattern in COUNTED.items()}


def assemble(ptxas, text, arch, folder):
    """Registers and spilled bytes of each kernel; raises with ptxas's message where it refuses."""
    source = os.path.join(folder, "kernels.ptx")
    with open(source, "w") as f:
        f.write(text)
    done = subprocess.run([ptxas, "-O3", "-v", f"--gpu-name={arch}", source, "-o", os.devnull], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    found, name = {}, None
    for line in done.stderr.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match.group(1)
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            found[name] = {"spills": int(match.group(1)) + int(match.group(2))}
        elif match := re.search(r"Used (\d+) registers", line):
            found[name]["registers"] = int(match.group(1))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    ptxas = next((p for p in (os.path.join(os.environ.get("CUDA_HOME", ""), "bin", "ptxas"), shutil.which("ptxas") or "")
                  if os.path.isfile(p)), None)
    golden = {}
    if os.path.exists(GOLDEN):
        with open(GOLDEN) as f:
            golden = json.load(f)
    found, passed, failed = {}, 0, 0

    def check(what, holds, detail=""):
        nonlocal passed, failed
        passed, failed = passed + bool(holds), failed + (not holds)
        if not holds:
            print(f"FAIL  {what}: {detail}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
        for name, case in CASES.items():
            onnx.save(case, path)
            flags = ["--precision=tf32"] if "tf32" in name else []
            # Without the assembler: this one runs it itself.
            env = {k: v for k, v in os.environ.items() if k != "CUDA_HOME"} | {"PATH": "/nowhere"}
            done = subprocess.run([nnopt.tool("nnopt-compile"), path, "-o", out, "--quiet", f"--gpu={','.join(ARCHITECTURES)}", *flags],
                                  capture_output=True, text=True, env=env)
            check(f"{name} compiles", done.returncode == 0, done.stderr)
            ptx = texts(out) if done.returncode == 0 else {}
            # Where four warps can multiply together, there is an image for that beside the portable one.
            check(f"{name}: PTX for each architecture", sorted(ptx) in (ARCHITECTURES, [*ARCHITECTURES, "sm_90a"]), sorted(ptx))
            record = found[name] = {arch: {k: {"ptx": count(body)} for k, body in entries(text).items()} for arch, text in ptx.items()}
            for arch, text in ptx.items():
                # Launches overlap where kernels can wait for those before, whose results are then no constant memory.
                kernels, waits = text.count(".visible .entry"), text.count("griddepcontrol.wait;")
                overlaps = "griddepcontrol.launch_dependents;" in text and waits >= kernels and "ld.global.nc" not in text
                check(f"{name}: {arch} overlaps launches", not waits if arch == "sm_80" else overlaps, f"{kernels} kernels, {waits} waits")
                check(f"{name}: kernels for tensor cores", any(k["ptx"]["mma"] + k["ptx"]["wgmma"] for k in record[arch].values()), list(record[arch]))
                if not ptxas:
                    continue
                try:
                    for kernel, numbers in assemble(ptxas, text, "sm_90a" if arch == "sm_90" else arch, folder).items():
                        if kernel in record[arch]:
                            record[arch][kernel]["ptxas"] = numbers
                    check(f"{name}: {arch} assembles", True)
                except RuntimeError as e:
                    check(f"{name}: {arch} assembles", False, e)
            want = golden.get(name, {})
            for arch, kernels in record.items():
                check(f"{name} {arch}: kernels", sorted(kernels) == sorted(want.get(arch, {})), f"{sorted(kernels)}")
                for kernel, numbers in kernels.items():
                    wanted = want.get(arch, {}).get(kernel, {})
                    check(f"{name} {arch} {kernel}: instructions", numbers["ptx"] == wanted.get("ptx"), f"{numbers['ptx']}, not {wanted.get('ptx')}")
                    if "ptxas" in numbers:
                        # Another version of the assembler may need some registers more; spills it must not.
                        known, now = wanted.get("ptxas", {"registers": 0, "spills": 0}), numbers["ptxas"]
                        check(f"{name} {arch} {kernel}: registers and spills",
                              now["spills"] <= known["spills"] and now["registers"] <= known["registers"] + 8, f"{now}, not {known}")
    if arguments.update:
        with open(GOLDEN, "w") as f:
            json.dump(found, f, indent=1)
            f.write("\n")
    if not ptxas:
        print("no ptxas on this machine: registers and spills are not checked")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
