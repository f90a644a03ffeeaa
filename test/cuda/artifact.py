#!/usr/bin/env python3
"""Artifacts with GPU code: what is in them, that they run on the CPU, and what is said without a GPU.

Ends with `N passed, N failed`.
"""
import ctypes
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import nnopt  # noqa: E402

MODEL = os.path.join(nnopt.ROOT, "examples", "models", "fashion.onnx")
INPUTS = os.path.join(nnopt.ROOT, "examples", "models", "fashion.npz")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def has_driver():
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


def main():
    passed = failed = 0

    def check(what, holds, detail=""):
        nonlocal passed, failed
        passed, failed = passed + bool(holds), failed + (not holds)
        if not holds:
            print(f"FAIL  {what}: {detail}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        both, plain, out = (os.path.join(folder, n) for n in ("both.so", "plain.so", "out.npz"))
        compile = nnopt.tool("nnopt-compile")
        code, _, text = run(compile, MODEL, "--gpu=sm_80,sm_90", "-o", both, "--quiet")
        check("two architectures", code == 0 and not text, text)
        check("without --gpu", run(compile, MODEL, "-o", plain, "--quiet")[0] == 0)
        with open(both, "rb") as f:
            content = f.read()
        check("PTX of both", b".target sm_80" in content and b".target sm_90" in content)
        with open(plain, "rb") as f:
            check("no PTX without --gpu", b".target sm_" not in f.read())
        code, _, text = run(nnopt.tool("nnopt-run"), both, f"--inputs={INPUTS}", f"--outputs={out}", "--quiet")
        check("runs on the CPU", code == 0, text)

        for flag in ("sm_20", "volta", "sm_80,", "sm_90x"):
            code, _, text = run(compile, MODEL, f"--gpu={flag}", "-o", os.path.join(folder, "bad.so"), "--quiet")
            check(f"--gpu={flag} is a usage error", code == 2 and text.count("\n") == 1 and "--gpu" in text, (code, text))
        for flags, says in ((["--precision=tf32"], "--gpu"), (["--precision=f16"], "--gpu"), (["--precision=f64"], "expected"), (["--gpu=emulate:0"], "--gpu")):
            code, _, text = run(compile, MODEL, *flags, "-o", os.path.join(folder, "bad.so"), "--quiet")
            check(f"{flags[0]} is a usage error", code == 2 and text.count("\n") == 1 and says in text, (code, text))
        for precision, symbol in (("tf32", b"_tf32_"), ("bf16", b"_bf16_")):
            code, _, text = run(compile, MODEL, "--gpu=sm_80", f"--precision={precision}", "-o", plain, "--quiet")
            with open(plain, "rb") as f:
                check(f"--precision={precision}: tensor cores", code == 0 and symbol in f.read(), (code, text))
        run(compile, MODEL, "-o", plain, "--quiet")
        code, _, text = run(nnopt.tool("nnopt-run"), plain, "--device=cuda", f"--inputs={INPUTS}", "--quiet")
        check("no GPU code in the artifact", code == 4 and text.count("\n") == 1 and "--gpu" in text, (code, text))
        code, _, text = run(nnopt.tool("nnopt-run"), both, "--device=cuda", f"--inputs={INPUTS}", "--quiet")
        if has_driver():
            check("runs on the GPU", code == 0, text)
        else:
            check("no driver: one clear line", code == 4 and text.count("\n") == 1 and "libcuda" in text, (code, text))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
