#!/usr/bin/env python3
"""Compiled kernels are kept between runs of nnopt-compile: the same bytes with and without them, and damaged ones are not used.

    object_cache.py

Ends with `N passed, N failed`.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
from checks import check, finish
from nnopt import ROOT, tool

MODEL = os.path.join(ROOT, "examples", "models", "fashion.onnx")


def kept(cache):
    """Time of writing of each file of code in a cache."""
    folder = os.path.join(cache, "objects")
    names = [name for name in os.listdir(folder) if name.startswith("llvmcache-kernel-")] if os.path.exists(folder) else []
    return {os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mtime_ns for name in names}


with tempfile.TemporaryDirectory() as folder:
    def compile(cache, *flags):
        """The bytes of the artifact; None, with a failed check, without one."""
        out = os.path.join(folder, "m.so")
        done = subprocess.run([tool("nnopt-compile"), MODEL, "--dim", "batch=1", "-o", out, f"--cache-dir={cache}", *flags],
                              capture_output=True, text=True)
        check(f"compiles {flags}", done.returncode == 0, done.stderr)
        return open(out, "rb").read() if done.returncode == 0 else None

    cache = os.path.join(folder, "cache")
    plain = compile("")
    check("keeps nothing without a folder", not os.path.exists(cache))
    check("is the same with an empty cache", compile(cache) == plain)
    first = kept(cache)
    check("keeps every kernel", len(first) >= 3, first)
    check("is the same from the cache", compile(cache) == plain)
    check("writes nothing again", kept(cache) == first)
    other = compile(cache, "--target=x86-64-v3")
    check("keeps targets apart", len(kept(cache)) > len(first) and other != plain)
    check("keeps targets apart, when read", compile(cache, "--target=x86-64-v3") == other == compile("", "--target=x86-64-v3"))

    # One kernel less, one cut off, one with another byte.
    less, cut, changed = sorted(first)[:3]
    os.remove(less)
    content = open(cut, "rb").read()
    open(cut, "wb").write(content[:len(content) // 2])
    content = bytearray(open(changed, "rb").read())
    content[len(content) // 2] ^= 1
    open(changed, "wb").write(content)
    check("compiles again what is missing or damaged", compile(cache) == plain)
    check("mends the cache", all(open(f, "rb").read() for f in (less, cut, changed)) and compile(cache) == plain)
    open(os.path.join(folder, "file"), "w").close()
    check("does without a cache", compile(os.path.join(folder, "file", "cache")) == plain)
sys.exit(finish())
