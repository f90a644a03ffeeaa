#!/usr/bin/env python3
"""Figures of five artifacts that say how fast and how big they are without measuring time.

    guards.py [--write]

Each model is compiled for x86-64-v4 with the sizes of its example inputs: kernels, launches, bytes of arena, of weights
and of the whole artifact, and the multiply-adds among the instructions. They are held against guards.json with a
tolerance of 2 %, in both directions: a figure that gets better is to be written down too (--write). Ends with
`N passed, N failed`.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import corpus
from nnopt import tool

GOLDEN = os.path.join(HERE, "guards.json")
MODELS = ["resnet50", "mobilenet_v2", "deit_tiny", "lm_cache", "ch_PP-OCRv4_rec_infer"]
TOLERANCE = 0.02
OBJDUMP = shutil.which("llvm-objdump-22") or "/usr/lib/llvm-22/bin/llvm-objdump"


def figures(model):
    model.prepare()
    artifact = os.path.join(corpus.CACHE, model.name + ".guards.so")
    command = [tool("nnopt-compile"), model.path, "-o", artifact, "--target=x86-64-v4", *model.pins()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    code = subprocess.run([OBJDUMP, "-d", "--no-show-raw-insn", artifact], capture_output=True, text=True, check=True).stdout
    summary = re.search(r"(\d+) kernels, (\d+) launches, weights ([\d.]+) MB, arena ([\d.]+) MB", done.stderr)
    found = {"kernels": int(summary[1]), "launches": int(summary[2]), "weights MB": float(summary[3]),
             "arena MB": float(summary[4]), "artifact bytes": os.path.getsize(artifact),
             "multiply-adds in the code": len(re.findall(r"\tvf[n]?m(?:add|sub)", code))}
    os.remove(artifact)
    model.discard()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write guards.json")
    options = parser.parse_args()
    if not os.path.isdir(corpus.SHARED):
        print("The model corpus is not there (see NNOPT_SHARED): there are no figures to check.")
        print("0 passed, 0 failed")
        return 0
    known = {m.name: m for m in corpus.models("full")}
    found = {name: figures(known[name]) for name in MODELS}
    if options.write:
        with open(GOLDEN, "w") as f:
            json.dump(found, f, indent=1)
            f.write("\n")
    with open(GOLDEN) as f:
        golden = json.load(f)
    passed = failed = 0
    for name, counts in found.items():
        for what, have in counts.items():
            want = golden[name][what]
            good = abs(have - want) <= TOLERANCE * want
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"FAIL  {name}: {what}: {have}, expected {want}")
    if failed:
        print("After a change that is meant: test/models/guards.py --write")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
