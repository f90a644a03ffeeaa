#!/usr/bin/env python3
"""Compressed models on GPUs: a recipe of each technique compiled for the CPU and with --gpu=emulate gives the same outputs, and
says for which target it was made.

    compress.py [--only=TECHNIQUE]

Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), *(os.path.join(HERE, "..", d) for d in ("support", "models", "compress"))]
import data  # noqa: E402
import moe  # noqa: E402
import nnopt  # noqa: E402

# By what --recipe-out says was chosen, which has to be something. Errors are relative to an output's scale: products of bytes
# are exact on both sides, but what lies between them is rounded to bytes, where a sum may fall on either side.
TECHNIQUES = {
    "int8": ("transformer", "--quantize=int8", 2e-2), "w8": ("transformer", "--quantize=w8", 1e-5),
    "w4": ("transformer", "--quantize=w4,group=16", 1e-5), "bf16": ("transformer", "--quantize=bf16", 2e-2),
    "f16": ("transformer", "--quantize=f16", 2e-3), "structured": ("transformer", "--prune=structured:25%", 1e-5),
    "moe": ("experts", "--moe=50%", 1e-5),
}


def make_models(folder):
    """Model, one set of inputs and calibration data of each."""
    rng = np.random.default_rng(0)
    path, feeds, _ = data.make("tiny_transformer", folder)
    models = {"transformer": (path, feeds, {"ids": rng.integers(0, 100, (16, 17))})}
    path = os.path.join(folder, "experts.onnx")
    moe.network(path, groups=8, size=32)
    models["experts"] = path, {"x": rng.standard_normal((2, moe.ROWS, moe.IN), np.float32)}, {
        "x": rng.standard_normal((300, moe.ROWS, moe.IN), np.float32)}
    return models


def check(technique, models, folder):
    name, flag, tolerance = TECHNIQUES[technique]
    model, feeds, calib = models[name]
    calib_file, recipe = os.path.join(folder, "calib.npz"), os.path.join(folder, f"{technique}.json")
    inputs = os.path.join(folder, "in.npz")
    np.savez(calib_file, **calib)
    np.savez(inputs, **feeds)
    out = {kind: os.path.join(folder, f"{technique}.{kind}.so") for kind in ("cpu", "emulated", "gpu")}
    nnopt.compile(model, out["gpu"], ["--quiet", flag, f"--calib={calib_file}", f"--recipe-out={recipe}", "--gpu=sm_80,sm_90"])
    with open(recipe) as f:
        made = json.load(f)
    assert made["steps"], "nothing was chosen"
    assert made["target"]["gpu"] == "sm_80,sm_90" and made["target"]["cpu"] not in ("", "native"), made["target"]
    nnopt.compile(model, out["cpu"], ["--quiet", f"--recipe={recipe}"])
    nnopt.compile(model, out["emulated"], ["--quiet", f"--recipe={recipe}", "--gpu=emulate", f"--link={folder}/simt.o"])
    results = []
    for kind in ("cpu", "emulated"):
        result = os.path.join(folder, "out.npz")
        subprocess.run([nnopt.tool("nnopt-run"), out[kind], f"--inputs={inputs}", f"--outputs={result}", "--quiet", "--threads=1"],
                       check=True, timeout=300)
        results.append(dict(np.load(result)))
    for key, want in results[0].items():
        error = nnopt.difference(results[1][key], want)
        assert error <= tolerance, f"error {error:.2e} of {key}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(TECHNIQUES))
    only = parser.parse_args().only
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        simt = os.path.join(nnopt.ROOT, "test", "support", "simt", "simt.c")
        subprocess.run(["/usr/lib/llvm-22/bin/clang", "-O2", "-fPIC", "-c", simt, "-o", os.path.join(folder, "simt.o")], check=True)
        models = make_models(folder)
        for technique in [only] if only else TECHNIQUES:
            try:
                check(technique, models, folder)
                passed += 1
            except (AssertionError, RuntimeError, KeyError, subprocess.SubprocessError) as e:
                print(f"FAIL  {technique}: {e}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
