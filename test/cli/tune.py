#!/usr/bin/env python3
"""--tune and --cache-dir: kernels are measured once, the same choice gives the same bytes and the same outputs.

    tune.py

Ends with `N passed, N failed`.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
import numpy as np

from checks import check, finish
from nnopt import ROOT, Session, tool

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")
IMAGE = np.load(os.path.join(ROOT, "examples", "models", "fashion.npz"))["image"][:1]


def compile(folder, *flags, home=None):
    """Exit status, stderr, and the bytes of the artifact."""
    out = os.path.join(folder, "m.so")
    if os.path.exists(out):
        os.remove(out)
    done = subprocess.run([tool("nnopt-compile"), MODEL, "--dim", "batch=1", "-o", out, *flags], capture_output=True, text=True,
                          env=dict(os.environ, **({"XDG_CACHE_HOME": home} if home else {})))
    return done.returncode, done.stderr, open(out, "rb").read() if os.path.exists(out) else None


def tuned(stderr):
    """Kernels measured, kernels known."""
    found = re.search(r"tuning: (\d+) kernels measured, (\d+) known", stderr)
    return tuple(map(int, found.groups())) if found else None


with tempfile.TemporaryDirectory() as folder:
    home = f"{folder}/home"
    code, first, artifact = compile(folder, "--tune", home=home)
    measured = tuned(first)
    check("measures every kernel", code == 0 and measured and measured[0] >= 3 and measured[1] == 0, first)
    with Session(os.path.join(folder, "m.so")) as session:
        got = session.run(None, {"image": IMAGE})
    cache = f"{home}/nnopt"
    check("keeps results under XDG_CACHE_HOME", any(name.startswith("llvmcache-tune-") for name in os.listdir(cache)))
    code, second, again = compile(folder, "--tune=30", f"--cache-dir={cache}")
    check("knows them the next time", code == 0 and tuned(second) == (0, measured[0]), second)
    check("gives the same bytes", artifact == again)
    code, plain, untuned = compile(folder, home=home)
    with Session(os.path.join(folder, "m.so")) as session:
        expected = session.run(None, {"image": IMAGE})
    check("changes no output", all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(got, expected)))
    check("is asked for", "tuning" not in plain, plain)
    for name in os.listdir(cache):
        if name.startswith("llvmcache-"):
            open(f"{cache}/{name}", "w").write("{not json")
    code, broken, _ = compile(folder, "--tune", f"--cache-dir={cache}")
    check("measures again what is broken", code == 0 and tuned(broken) == measured, broken)
    code, none, _ = compile(folder, "--tune=0.01", "--cache-dir=", home=f"{folder}/other")
    check("keeps nothing without a folder", code == 0 and not os.path.exists(f"{folder}/other"), none)
    open(f"{folder}/file", "w").close()
    code, unwritable, _ = compile(folder, "--tune=0.01", f"--cache-dir={folder}/file/cache")
    check("does without a cache", code == 0 and tuned(unwritable), unwritable)

    begin = time.time()
    code, short, _ = compile(folder, "--tune=0.01", "--cache-dir=")
    check("ends in time", code == 0 and "not reached in time" in short, short)
    for flag in ("--tune=soon", "--tune=-1", "--tune=0"):
        code, wrong, _ = compile(folder, flag)
        check(flag, code == 2 and "number of seconds" in wrong, wrong)
    for flags, text in ((["--target=aarch64-linux-gnu:neoverse-n1"], "cannot run"), (["--opt=0"], "does nothing"),
                        (["--emit=onnx"], "does nothing")):
        code, wrong, _ = compile(folder, "--tune", *flags)
        check(f"--tune {flags[0]}", code == 2 and text in wrong, wrong)
sys.exit(finish())
