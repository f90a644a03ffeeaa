#!/usr/bin/env python3
"""Artifacts for AArch64, run by qemu-user, against those for this machine.

    run.py [--only=NAME]

The C runtime is built for AArch64 by a cross compiler. The example model, also on integers, random products and convolutions of
bytes, equal to the last bit, and small models of ../shared/models where they are: convolutions, transformers, recurrent nets, text. Needs qemu-aarch64 and
aarch64-linux-gnu-gcc (tools/setup.sh full); where they are not there, it says so and runs nothing. Ends with
`N passed, N failed`.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from checks import check, finish
from nnopt import ROOT, Session, tool

EXAMPLES = os.path.join(ROOT, "examples", "models")
TRAINED = os.path.join(os.environ.get("NNOPT_SHARED", os.path.join(ROOT, "..", "shared", "models")), "trained")
SYSTEM = "/usr/aarch64-linux-gnu"  # where the cross compiler's libc is
CPU = "aarch64-linux-gnu:neoverse-n1"


def build(folder):
    """The runtime and the program that runs artifacts, for AArch64."""
    program = os.path.join(folder, "run")
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-std=gnu11", "-Wall", "-Werror", f"-I{ROOT}", f"-I{ROOT}/include",
                    os.path.join(HERE, "run.c"), *glob.glob(os.path.join(ROOT, "runtime", "*.c")), "-o", program,
                    "-lpthread", "-ldl"], check=True)
    return program


def on_arm(program, artifact, inputs, folder):
    """Outputs of an artifact in qemu, as raw arrays; or what it printed."""
    for i, x in enumerate(inputs):
        with open(os.path.join(folder, f"in_{i}.raw"), "wb") as file:
            file.write(np.array(x.shape, np.int64).tobytes() + np.ascontiguousarray(x).tobytes())
    done = subprocess.run(["qemu-aarch64", "-L", SYSTEM, program, artifact, folder], capture_output=True, text=True, timeout=600)
    if done.returncode:
        return None, f"exit {done.returncode} {done.stderr}"
    outputs = []
    for i in range(len(glob.glob(os.path.join(folder, "out_*.raw")))):
        data = open(os.path.join(folder, f"out_{i}.raw"), "rb").read()
        rank = np.frombuffer(data, np.int64, 1)[0]
        shape = np.frombuffer(data, np.int64, rank, 8)
        outputs.append((tuple(shape), data[8 * (rank + 1):]))
    return outputs, ""


def compare(name, program, model, feeds, flags=(), tolerance=1e-4):
    with tempfile.TemporaryDirectory() as folder:
        here, there = os.path.join(folder, "here.so"), os.path.join(folder, "there.so")
        for out, target in ((here, "native"), (there, CPU)):
            done = subprocess.run([tool("nnopt-compile"), model, "-o", out, f"--target={target}", "--quiet", *flags],
                                  capture_output=True, text=True)
            if done.returncode:
                return check(name, False, done.stderr)
        with Session(here) as session:
            names = [i.name for i in session.get_inputs()]
            expected = session.run(None, feeds)
        outputs, error = on_arm(program, there, [feeds[n] for n in names], folder)
        if outputs is None or len(outputs) != len(expected):
            return check(name, False, error)
        worst = 0
        for (shape, data), want in zip(outputs, expected):
            if shape != want.shape or len(data) != want.nbytes:
                return check(name, False, f"shape {shape}, expected {want.shape}")
            got = np.frombuffer(data, want.dtype).reshape(shape)
            scale = np.abs(want).max() or 1
            worst = max(worst, np.abs(got.astype(np.float64) - want).max() / scale)
        check(f"{name} (error {worst:.1e} of scale)", worst < tolerance and (worst == 0 or not np.issubdtype(want.dtype, np.integer)))


def integers(folder):
    """(name, model, feeds) of ConvInteger and MatMulInteger with bytes of either sign, zero points and odd sizes."""
    rng = np.random.default_rng(1)
    types = {"u8": (TensorProto.UINT8, np.uint8), "s8": (TensorProto.INT8, np.int8)}
    for i in range(16):
        (x_type, x_numpy), (w_type, w_numpy) = (types[rng.choice(["u8", "s8"])] for _ in range(2))
        draw = lambda shape, numpy: rng.integers(np.iinfo(numpy).min, np.iinfo(numpy).max + 1, shape).astype(numpy)
        channels, columns, kernel = int(rng.integers(1, 40)), int(rng.integers(1, 40)), int(rng.choice([1, 3]))
        op = ["MatMulInteger", "ConvInteger"][i % 2]
        shape, weights = ([int(rng.integers(1, 20)), channels], [channels, columns]) if op == "MatMulInteger" else \
            ([1, channels, 7, 6], [columns, channels, kernel, kernel])
        constants = [numpy_helper.from_array(draw(weights, w_numpy), "w"), numpy_helper.from_array(draw([], x_numpy), "x_zero"),
                     numpy_helper.from_array(draw([], w_numpy) if rng.random() < 0.5 else np.array(0, w_numpy), "w_zero")]
        node = helper.make_node(op, ["x", "w", "x_zero", "w_zero"], ["y"], **({"pads": [kernel // 2] * 4} if "Conv" in op else {}))
        graph = helper.make_graph([node], "bytes", [helper.make_tensor_value_info("x", x_type, shape)],
                                  [helper.make_tensor_value_info("y", TensorProto.INT32, None)], constants)
        path = os.path.join(folder, f"bytes{i}.onnx")
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        yield f"{op} {shape} x {weights}", path, {"x": draw(shape, x_numpy)}


def trained():
    """(name, model, feeds) of the small trained models."""
    rng = np.random.default_rng(0)
    for name in ("resnet20", "repvgg", "mobilenetv3", "unet", "vit", "mixer", "gru_rows", "relu_transformer"):
        key = "noisy" if name == "unet" else "image"
        yield name, {key: rng.random((2, 1, 28, 28), dtype=np.float32)}
    for name in ("lm", "lstm_lm", "moe_lm"):
        yield name, {"ids": rng.integers(0, 1024, (1, 17))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="a model, by name")
    options = parser.parse_args()
    if missing := [p for p in ("qemu-aarch64", "aarch64-linux-gnu-gcc") if not shutil.which(p)]:
        print(f"skipped: {', '.join(missing)} not installed (tools/setup.sh full)")
        print("0 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        image = np.load(os.path.join(EXAMPLES, "fashion.npz"))["image"]
        fashion = os.path.join(EXAMPLES, "fashion.onnx")
        data = os.path.join(folder, "data.npz")
        np.savez(data, image=image)
        recipe = os.path.join(folder, "int8.json")
        subprocess.run([tool("nnopt-compile"), fashion, "--quantize=int8", f"--calib={data}", f"--recipe-out={recipe}", "-o",
                        os.path.join(folder, "q.so"), "--quiet"], check=True)
        jobs = [("fashion", fashion, {"image": image}, ()), ("fashion, one image", fashion, {"image": image[:1]}, ("--dim", "batch=1")),
                ("fashion at --opt=0", fashion, {"image": image[:2]}, ("--opt=0",)),
                ("fashion on integers", fashion, {"image": image}, (f"--recipe={recipe}",))]
        jobs += [(name, model, feeds, ()) for name, model, feeds in integers(folder)]
        code = subprocess.run([tool("nnopt-compile"), jobs[-1][1], f"--target={CPU}", "--emit=asm"], capture_output=True, text=True)
        check("products of bytes by sdot", "sdot" in code.stdout, code.stderr)
        if os.path.isdir(TRAINED):
            jobs += [(name, os.path.join(TRAINED, name + ".onnx"), feeds, ()) for name, feeds in trained()]
        else:
            print(f"skipped: the trained models, since {TRAINED} is not there (see NNOPT_SHARED)")
        for name, model, feeds, flags in jobs:
            if not options.only or options.only in name:
                compare(name, program, model, feeds, flags)
        # An artifact for another CPU is refused.
        wrong = os.path.join(folder, "x86.so")
        subprocess.run([tool("nnopt-compile"), fashion, "-o", wrong, "--quiet"], check=True)
        outputs, error = on_arm(program, wrong, [image], folder)
        check("an artifact for x86-64 is refused", outputs is None and "exit 3" in error and "x86" in error, error)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
