#!/usr/bin/env python3
"""Artifacts with several programs: lists of targets and of sizes.

    versions.py

Compiles the example model for lists of both, runs it at sizes in and outside the lists, looks which program ran (its
kernels have names of their own), and compares with the artifact for all sizes at --opt=0. Ends with `N passed, N failed`.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
import numpy as np

from checks import check, finish
from nnopt import ROOT, Session, compile, tool

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")


def run(command):
    return subprocess.run(command, capture_output=True, text=True)


def programs(artifact, folder, batch):
    """Prefixes of the kernels that run for a batch, and whether the outputs are those of the reference."""
    x = np.random.default_rng(batch).standard_normal((batch, 1, 28, 28), np.float32)
    np.savez(os.path.join(folder, "in.npz"), **{Session(artifact).inputs[0].name: x})
    trace = os.path.join(folder, "trace.json")
    done = run([tool("nnopt-run"), artifact, f"--inputs={folder}/in.npz", f"--outputs={folder}/out.npz", f"--profile={trace}"])
    if done.returncode:
        return {done.stderr}, None
    with open(trace) as f:
        names = {e["args"]["kernel"] for e in json.load(f)["traceEvents"] if "kernel" in e.get("args", {})}
    return {n.split("_")[0] if n[0] == "v" and n[1].isdigit() else "" for n in names if n != "copy"}, dict(np.load(f"{folder}/out.npz"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        compile(MODEL, at("reference.so"), ["--opt=0"])
        cases = [("sizes", ["--dim=batch=1,8,*"], {1: "v0", 8: "v1", 3: ""}),
                 ("targets", ["--target=x86-64-v2,x86-64-v3"], {2: ""}),
                 ("both", ["--target=x86-64-v2,x86-64-v3", "--dim=batch=4,*"], {4: "v0", 5: ""})]
        for name, flags, expected in cases:
            compile(MODEL, at(name + ".so"), flags)
            for batch, program in expected.items():
                found, outputs = programs(at(name + ".so"), folder, batch)
                check(f"{name}, batch {batch}: program", found == {program}, f"expected {program!r}, found {found}")
                _, reference = programs(at("reference.so"), folder, batch)
                same = outputs is not None and all(np.allclose(outputs[k], v, 1e-4, 1e-5) for k, v in reference.items())
                check(f"{name}, batch {batch}: outputs", same)
        # Its bound is that of the program that runs.
        done = run([tool("nnopt-run"), at("targets.so"), "--dim=batch=1", "--profile"])
        check("bound of AVX2", "GFLOP/s of f32 FMA on vectors of 256 bits" in done.stdout, done.stdout + done.stderr)
        # Equal weights are stored once: the programs for 8 and for 16 use the same.
        weights = [re.search(r"weights ([0-9.]+) MB", run([tool("nnopt-compile"), MODEL, "-o", at("w.so"), flag]).stderr).group(1)
                   for flag in ("--dim=batch=8,*", "--dim=batch=8,16,*")]
        check("weights are shared", weights[0] == weights[1], weights)
        # --verify goes through all programs.
        done = run([tool("nnopt-compile"), MODEL, "-o", at("v.so"), "--dim=batch=2,*", "--verify"])
        check("--verify", done.returncode == 0 and done.stderr.count("equal within tolerance") == 2, done.stderr)
        # One order of the list or the other: the same bytes.
        compile(MODEL, at("a.so"), ["--target=x86-64-v2,x86-64-v3"])
        compile(MODEL, at("b.so"), ["--target=x86-64-v3,x86-64-v2"])
        with open(at("a.so"), "rb") as a, open(at("b.so"), "rb") as b:
            check("the order of targets does not count", a.read() == b.read())
        # Static linking takes lists too.
        done = run([tool("nnopt-compile"), MODEL, "-o", at("static.o"), "--emit=obj", "--dim=batch=2,*"])
        check("--emit=obj", done.returncode == 0, done.stderr)
        wrong = [(["--dim=batch=1,8"], "ends with '\\*'"), (["--dim=batch=1,x,*"], "expected NAME=VALUE"),
                 (["--dim=nothing=1,*"], "nothing"), (["--target=x86-64-v3,aarch64-linux-gnu:generic"], "cannot be in one file"),
                 (["--target=x86-64-v3,"], "--target"), (["--dim=batch=1,*", "--emit=asm"], "several programs"),
                 (["--target=x86-64-v3,x86-64-v4", "--gpu=sm_80"], "--gpu"),
                 (["--dim=batch=" + ",".join(map(str, range(1, 40))) + ",*"], "combinations")]
        for flags, says in wrong:
            done = run([tool("nnopt-compile"), MODEL, "-o", at("wrong.so"), *flags])
            check(" ".join(flags), done.returncode == 2 and says.replace("\\", "") in done.stderr and not os.path.exists(at("wrong.so")),
                  f"exit {done.returncode}: {done.stderr}")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
