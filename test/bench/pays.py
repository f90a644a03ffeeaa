#!/usr/bin/env python3
"""Whether compression under a budget of quality ever makes a model slower than its floats.

    pays.py [--models=a,b] [--set=small|default|full] [--technique=quantize=int8] [--drop=1%] [--metric=cosine] [--json=FILE]

Each model is compiled with and without `--TECHNIQUE --budget=drop=DROP` (--technique=all: the budget alone, which then chooses among all
techniques), calibrated and judged on noise like the example inputs. Both artifacts then take turns in one process; the least time of one
thread counts. A model passes when the compressed one takes no longer than the floats, by more than the 3 % that two
measurements of one artifact differ. Ends with `N passed, N failed`.
"""
import argparse
import collections
import json
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import corpus
import quantized
from least_time import in_turn
from nnopt import Session, compile

NOISE = 0.03


def least_times(artifacts, feeds, seconds=3):
    """Milliseconds of each, turn by turn, on one thread."""
    sessions = [Session(a, 1) for a in artifacts]
    for session in sessions:
        session.prepare(feeds)
        session.step()
    return in_turn([session.step for session in sessions], seconds * len(sessions), turns=5, runs=3)


def run(model, options, folder):
    model.prepare()
    plain, small, data, notes = (os.path.join(folder, n) for n in ("f.so", "q.so", "calib.npz", "recipe.json"))
    quantized.calibration(model, data)
    flags = [f"--budget=drop={options.drop}", f"--metric={options.metric}", f"--calib={data}"]
    if options.technique != "all":
        flags.append("--" + options.technique)
    begin = time.monotonic()
    compile(model.path, plain, model.pins())
    compile(model.path, small, [*model.pins(), *flags, f"--recipe-out={notes}"], timeout=3600)
    took = time.monotonic() - begin
    recipe = json.load(open(notes)) if os.path.exists(notes) else {"steps": []}  # none where no layer can be compressed
    before, after = least_times([plain, small], model.example)
    used = collections.Counter(step["option"] for step in recipe["steps"])
    return {"model": model.name, "float_ms": before, "ms": after, "used": dict(used), "seconds": took,
            "notes": {k: recipe.get(k) for k in ("float", "compressed", "slower")},
            "passed": after <= before * (1 + NOISE)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="")
    parser.add_argument("--set", default="default", choices=["small", "default", "full"])
    parser.add_argument("--technique", default="quantize=int8")
    parser.add_argument("--drop", default="1%")
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    names, results = [n for n in options.models.split(",") if n], []
    for model in corpus.models("full" if names else options.set):
        if names and model.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                r = run(model, options, folder)
                print(f"{'PASS' if r['passed'] else 'FAIL'}  {r['model']}: {r['float_ms']:.3f} ms in floats, {r['ms']:.3f} ms compressed "
                      f"({r['float_ms'] / r['ms']:.2f} times as fast); {r['used'] or 'left as it is'}; {r['seconds']:.0f} s to compile", flush=True)
            except (RuntimeError, ValueError, OSError) as e:
                r = {"model": model.name, "failure": str(e), "passed": False}
                print(f"FAIL  {model.name}: {e}", flush=True)
            results.append(r)
        model.discard()
    if options.json:
        json.dump(results, open(options.json, "w"), indent=1)
    failed = sum(not r["passed"] for r in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
