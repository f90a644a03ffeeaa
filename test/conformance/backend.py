#!/usr/bin/env python3
"""Runs the operator tests of the onnx package (onnx.backend.test, kind `node`) through nnopt.

    backend.py [--ops=Add,Conv] [--name=test_conv*] [--sample=N] [--dynamic] [--opt=2,0] [--jobs=N]
               [--summary=FILE] [--update] [-v]

Each test is compiled at every given level and run with its data. --dynamic makes all dimensions of the inputs
symbolic first. --sample=N takes every N-th test. expected_failures.txt lists tests that cannot pass, with the
status they end in; a test that is listed and passes fails the run, and so does one that fails and is not
listed. --update rewrites that list. Statuses: unsupported (exit 4), invalid (exit 3), wrong (other values, shapes or
types), error (exit 1, or the run failed), crash (a signal), timeout.
Ends with `N passed, N failed`; tests that fail as listed count as passed.
"""
import argparse
import collections
import fnmatch
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import numpy_helper

from nnopt import BUILD, CompileError, Session, compile

LIST = os.path.join(HERE, "expected_failures.txt")
TIMEOUT = 60
tests, options = [], None


def load_tests():
    warnings.simplefilter("ignore")  # the package overflows and divides by zero on purpose
    from onnx.backend.test.loader import load_model_tests
    return sorted(load_model_tests(kind="node"), key=lambda t: t.name)


def operators(test):
    return sorted({n.op_type for n in test.model.graph.node})


# --------------------------------------------------------------------- one test
def make_dynamic(model):
    """A copy with every dimension of the inputs symbolic. Sizes that are equal get the same name, so that
    shapes which have to agree still do."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value > 1:
                dim.dim_param = f"n{dim.dim_value}"
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def check_values(test, got, want):
    """None, or what differs."""
    for i, (g, w) in enumerate(zip(got, want)):
        if w is None or isinstance(w, list):
            if (g is None) != (w is None) or len(g or []) != len(w or []):
                return f"output {i} is {g}, not {w}"
            problem = check_values(test, g or [], w or [])
            if problem:
                return f"output {i}, element: {problem}"
            continue
        w = np.asarray(w)
        if w.dtype.kind in "OUS":
            if g.dtype != object or g.shape != w.shape or g.tolist() != w.astype(object).tolist():
                return f"output {i} is {g.tolist()}, not {w.tolist()}"
            continue
        if g.dtype != w.dtype:
            return f"output {i} has type {g.dtype}, not {w.dtype}"
        if g.shape != w.shape:
            return f"output {i} has shape {list(g.shape)}, not {list(w.shape)}"
        if w.dtype.kind in "iub":
            if not np.array_equal(g, w):
                return f"output {i}: {np.count_nonzero(g != w)} of {w.size} elements differ"
            continue
        # As the runner of the package compares bfloat16 (onnx/backend/test/runner): within two units in the last place.
        rtol = max(test.rtol, 2**-6) if w.dtype.name == "bfloat16" else test.rtol
        a, b = g.astype(np.float64), w.astype(np.float64)
        if not np.allclose(a, b, rtol=rtol, atol=test.atol, equal_nan=True):
            with np.errstate(invalid="ignore"):
                return f"output {i}: largest difference {np.nanmax(np.abs(a - b)):.3g}, scale {np.nanmax(np.abs(b)):.3g}"
    return None


def run_artifact(test, artifact):
    """Status and detail of all data sets. Runs in a process of its own, as kernels may crash."""
    with Session(artifact, options.threads) as session:
        names = [i.name for i in session.get_inputs()]
        for inputs, outputs in test.data_sets:
            # Element types that numpy lacks come as protobuf.
            inputs, outputs = ([numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]
                               for values in (inputs, outputs))
            # Initializers that are also inputs follow the inputs proper.
            feeds = dict(zip([i.name for i in test.model.graph.input], inputs))
            feeds = {k: v if v is None or isinstance(v, list) else np.asarray(v) for k, v in feeds.items() if k in names}
            problem = check_values(test, session.run(None, feeds), outputs)
            if problem:
                return "wrong", problem
    return "pass", ""


def isolated(function, *arguments):
    """Calls function in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            signal.alarm(TIMEOUT)
            result = function(*arguments)
        except BaseException as e:
            result = ("error", message_of(str(e), arguments[-1]))
        with os.fdopen(write, "w") as f:
            json.dump(result, f)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as f:
        text = f.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("timeout", "") if number == signal.SIGALRM else ("crash", signal.Signals(number).name)
    return tuple(json.loads(text))


def reason_of(output):
    """What is unsupported: the rows of nnopt-compile's table."""
    rows, inside = [], False
    for line in output.splitlines():
        if line.startswith("op ") and "reason" in line:
            inside = True
        elif inside and "unsupported feature" in line:
            break
        elif inside:
            rows.append(" ".join(line.split()))
    return "; ".join(rows)[:300]


def message_of(output, path):
    """The line that says what went wrong, without the path of the temporary file."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or [""]
    line = next((line for line in lines if "error" in line), lines[0])
    return line.replace(path, "").lstrip(": ")[:300]


def run_level(test, level, folder):
    path, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    model = make_dynamic(test.model) if options.dynamic else test.model
    onnx.save(model, path)
    try:
        compile(path, artifact, [f"--opt={level}"], timeout=TIMEOUT)
    except CompileError as e:
        if e.code == 4:
            return "unsupported", reason_of(e.output)
        if e.code == 3:
            return "invalid", message_of(e.output, path)
        if "no result after" in e.output:
            return "timeout", "compiling"
        crashed = e.code < 0 or "reproducer" in e.output
        return "crash" if crashed else "error", "compiling: " + message_of(e.output, path)
    return isolated(run_artifact, test, artifact)


def run_test(index):
    test = tests[index]
    with tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "conformance")) as folder:
        for level in options.opt.split(","):
            status, detail = run_level(test, level, folder)
            if status != "pass":
                return index, status, f"--opt={level}: {detail}"
    return index, "pass", ""


# --------------------------------------------------------------------- all tests
def read_list():
    """[(pattern, status)] of expected_failures.txt."""
    entries = []
    with open(LIST) as f:
        for line in f:
            fields = line.split("#")[0].split()
            if fields:
                entries.append((fields[0], fields[1]))
    return entries


def expected_status(entries, name):
    return next((status for pattern, status in entries if fnmatch.fnmatchcase(name, pattern)), "pass")


def write_summary(path, results):
    groups = collections.defaultdict(list)
    for index, status, detail in results:
        if status != "pass":
            op = ",".join(operators(tests[index])) if len(tests[index].model.graph.node) < 3 else "(several operators)"
            groups[status, op].append((tests[index].name, detail))
    counts = collections.Counter(status for _, status, _ in results)
    with open(path, "w") as f:
        f.write(" ".join(f"{k}: {v}" for k, v in sorted(counts.items())) + "\n")
        for (status, op), members in sorted(groups.items()):
            f.write(f"\n{status}  {op}  ({len(members)})\n")
            for name, detail in members:
                f.write(f"    {name}  {detail}\n")


def write_list(results, entries):
    """Keeps the comments and the entries that still hold, and appends what is new."""
    failed = {tests[i].name: (status, detail) for i, status, detail in results if status != "pass"}
    kept, covered = [], set()
    if os.path.exists(LIST):
        for line in open(LIST):
            fields = line.split("#")[0].split()
            if fields:
                matched = [n for n, (status, _) in failed.items() if fnmatch.fnmatchcase(n, fields[0]) and status == fields[1]]
                if not matched:
                    continue
                covered.update(matched)
            kept.append(line)
    with open(LIST, "w") as f:
        f.writelines(kept)
        for name in sorted(set(failed) - covered):
            status, detail = failed[name]
            f.write(f"{name} {status}  # {re.sub(r'^--opt=[0-9]: ', '', detail)[:80]}\n")


def main():
    global tests, options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", help="operators, separated by commas: tests of which any node is one")
    parser.add_argument("--name", help="pattern of test names")
    parser.add_argument("--sample", type=int, default=1)
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--opt", default="2,0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--summary")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()

    tests = load_tests()[::options.sample]
    if options.ops:
        tests = [t for t in tests if set(options.ops.split(",")) & set(operators(t))]
    if options.name:
        tests = [t for t in tests if fnmatch.fnmatchcase(t.name, options.name)]
    entries = read_list() if os.path.exists(LIST) else []
    os.makedirs(os.path.join(BUILD, "conformance"), exist_ok=True)

    passed, failed, results = 0, 0, []
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for index, status, detail in pool.imap_unordered(run_test, range(len(tests)), chunksize=4):
            name = tests[index].name
            results.append((index, status, detail))
            expected = expected_status(entries, name)
            if status == expected:
                passed += 1
            else:
                failed += 1
            if status != expected or (options.v and status != "pass"):
                note = "" if expected == "pass" else f" (expected_failures.txt says {expected})"
                print(f"{'FAIL' if status != expected else 'known'}  {name}: {status}{note} {detail}", flush=True)
    results.sort()
    whole = options.sample == 1 and not options.ops and not options.name
    if whole and not options.update and not options.dynamic:
        names = [t.name for t in tests]
        for pattern, _ in entries:
            if not fnmatch.filter(names, pattern):
                failed += 1
                print(f"FAIL  expected_failures.txt: no test matches {pattern}")
    if options.summary:
        write_summary(options.summary, results)
    if options.update:
        write_list(results, entries)
    counts = collections.Counter(status for _, status, _ in results)
    print(", ".join(f"{v} {k}" for k, v in sorted(counts.items())))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
