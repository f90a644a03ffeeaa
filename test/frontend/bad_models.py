#!/usr/bin/env python3
"""A corpus of broken, hostile and odd models: the compiler answers each with the right exit code and one line.

    bad_models.py [--tool=PATH] [--compile] [--filter=TEXT] [--mutations=N] [--seed=N] [--keep=DIR] [--jobs=N] [-v]

Hand-written cases say which exit codes they allow (0 done, 3 invalid, 4 unsupported); mutations of valid models
(truncations, flipped bits, spliced bytes) may end in any of these. A signal, a sanitizer's report, a missing or
rambling message or a left-over output file is a failure. Without --compile only `--check` runs.
Ends with `N passed, N failed`.
"""
import argparse
import concurrent.futures
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "corpus"))
import bad_graphs
from bad_graphs import CASES

ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))
DONE, INVALID, UNSUPPORTED = 0, 3, 4
# What no run may print.
TRACES = ("LLVM ERROR", "Stack dump", "Assertion", "runtime error:", "AddressSanitizer", "terminate called",
          "std::bad_alloc", "PLEASE submit a bug report")


# --------------------------------------------------------------------- mutations
def mutate(data, rng):
    """One seeded change of a serialized model."""
    kind = rng.randrange(6)
    data = bytearray(data)
    at = rng.randrange(len(data))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        for _ in range(8):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 3:
        data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    elif kind == 4:
        del data[at:at + rng.randrange(1, 9)]
    else:
        data[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff])
    return bytes(data)


def mutations(count, seed):
    """`count` mutated models, evenly from the valid ones."""
    rng = random.Random(seed)
    valid = [(name, model().SerializeToString()) for name, model in bad_graphs.VALID]
    for i in range(count):
        name, data = valid[i % len(valid)]
        yield f"mutation/{name}/{i}", mutate(data, rng)


# --------------------------------------------------------------------- running
def check(name, allowed, arguments, options, folder):
    """Runs the tool; returns what is wrong, or None."""
    out = os.path.join(folder, "out.so")
    command = [options.tool, *(["-o", out] if options.compile else ["--check"]), *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return f"no answer after {options.timeout} s"
    text = done.stderr.decode(errors="replace")
    lines = [line for line in text.splitlines() if not line.startswith("warning:")]
    if options.verbose:
        print(f"{name}: exit {done.returncode}: {text.strip()[:300]}")
    if done.returncode not in allowed:
        return f"exit {done.returncode}, allowed are {sorted(allowed)}: {text.strip()[:500]}"
    for trace in TRACES:
        if trace in text:
            return f"its message holds '{trace}': {text.strip()[:500]}"
    if done.returncode and not lines:
        return "no message"
    if done.returncode == INVALID and len(lines) != 1:
        return f"{len(lines)} lines instead of one: {text.strip()[:500]}"
    if done.returncode == UNSUPPORTED and not any(line.split()[:2] == ["op", "opset"] for line in lines):
        return f"no table of what is unsupported: {text.strip()[:500]}"
    if len(text) > 20000:
        return f"a message of {len(text)} characters"
    if options.compile and done.returncode and os.listdir(folder) != options.before[name]:
        return f"left files behind: {os.listdir(folder)}"
    return None


def run_case(job, options):
    name, allowed, build = job
    folder = tempfile.mkdtemp(prefix="nnopt-bad-", dir=options.keep)
    if options.keep:
        print(f"{name}: {folder}")
    try:
        arguments = build(folder)
        options.before[name] = os.listdir(folder)
        return name, check(name, allowed, arguments, options, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def jobs_of(options):
    for name, allowed, build in CASES:
        yield name, set(allowed), build
    for name, data in mutations(options.mutations, options.seed):
        def build(folder, data=data):
            path = os.path.join(folder, "model.onnx")
            with open(path, "wb") as file:
                file.write(data)
            return [path]
        yield name, {DONE, INVALID, UNSUPPORTED}, build


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=os.path.join(BUILD, "bin", "nnopt-compile"))
    parser.add_argument("--compile", action="store_true", help="compile instead of checking")
    parser.add_argument("--filter", default="")
    parser.add_argument("--mutations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--keep", help="existing folder in which to keep the models")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    options.before = {}
    jobs = [job for job in jobs_of(options) if options.filter in job[0]]
    names = [job[0] for job in jobs]
    assert len(set(names)) == len(names), "two cases have one name"
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, problem in pool.map(lambda job: run_case(job, options), jobs):
            if problem:
                failed += 1
                print(f"FAILED {name}: {problem}")
    print(f"{len(jobs) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not jobs else 0)


if __name__ == "__main__":
    main()
