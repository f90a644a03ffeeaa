#!/usr/bin/env python3
"""Runs the backend tests of the onnx package (onnx.backend.test: operators, small models, exports of PyTorch, networks
without weights) through nnopt.

    backend.py [--plan=default|full] [--ops=Add,Conv] [--name=test_conv*] [--kinds=node,simple] [--modes=given,dynamic]
               [--opt=2,0] [--sample=N] [--jobs=N] [--summary=FILE] [--update] [--record] [-v]

Modes: given; dynamic (all sizes of the inputs are symbolic); constants (the inputs are constants, and at --opt=2
nothing may remain to be computed, but of networks, whose results are larger than what is folded); fresh (nnopt-compile
and nnopt-run on files, as processes of their own, where the other modes compile and run in a forked child). A test is
compiled at every level and run with its data.
--sample=N takes one of N, chosen by the names of test, mode and level. The default plan is the given mode at --opt=2,
and a tenth of everything else; the full one is everything, with a tenth in fresh processes.
expected_failures.txt lists tests that cannot pass, with the status they end in; a test that is listed and passes fails
the run, and so does one that fails and is not listed. --update rewrites that list. Statuses: unsupported (exit 4),
invalid (exit 3), wrong (other values, shapes or types), unfolded, error (exit 1, or the run failed), crash (a signal),
timeout. --record runs the operators' tests as given and dynamic at --opt=2, and writes measured.json, which
docs/onnx-status.md is made of (with --ops: the entries of those operators in it).
Ends with `N passed, N failed`; tests that fail as listed count as passed.
"""
import argparse
import collections
import fnmatch
import glob
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import numpy_helper

import isolated
from nnopt import BUILD, Session, tool

LIST = os.path.join(HERE, "expected_failures.txt")
MEASURED = os.path.join(HERE, "measured.json")
TIMEOUT = 600  # seconds, for networks on a busy machine
# Operations that are not evaluated when the model is compiled: those of the host (docs/rationale/host-values.md), loops,
# non-maximum suppression, whose result has a size that depends on data, and random numbers, which are other ones in each run.
NOT_FOLDED = {"image_decode", "loop", "lookup", "non_max_suppression", "number_to_string", "random", "random_key",
              "regex_full_match", "string_concat", "string_equal", "string_lookup", "string_normalize", "string_pool",
              "string_split", "string_take", "string_to_number"}
# What a constant sequence or optional is: tensors are constants, these are made of them.
CONSTANT = {"constant", "sequence_construct", "optional_construct"}
KINDS = ["node", "simple", "pytorch-converted", "pytorch-operator", "real"]
MODES = ["given", "dynamic", "constants", "fresh"]
tests, jobs, options = [], [], None


class Test:
    """A test of the package; the data of those that are files are read when they are needed."""

    def __init__(self, case):
        self.name, self.kind, self.rtol, self.atol = case.name, case.kind, case.rtol, case.atol
        self._model, self._data = case.model, case.data_sets
        self.folder, self.url = case.model_dir, case.url

    @property
    def model(self):
        if self._model is None:
            self._model = onnx.load(self._path())
        return self._model

    def _path(self):
        if self.folder:
            return os.path.join(self.folder, "model.onnx")
        return os.path.join(os.path.dirname(onnx.__file__), "..", self.url)

    @property
    def data_sets(self):
        if self._data is None:
            self._data = self._files() if self.folder else self._ramp()
        return self._data

    def _files(self):
        sets = []
        for folder in sorted(glob.glob(os.path.join(self.folder, "test_data_set*"))):
            count = len(glob.glob(os.path.join(folder, "input_*.pb")))
            inputs = [read_value(f"{folder}/input_{i}.pb", self.model.graph.input[i].type) for i in range(count)]
            outputs = [read_value(f"{folder}/output_{i}.pb", o.type) for i, o in enumerate(self.model.graph.output)]
            sets.append((inputs, outputs))
        return sets

    def _ramp(self):
        """What the package's runner feeds networks that come without weights."""
        count = len(self.model.graph.input) - len(self.model.graph.initializer)
        inputs = []
        for i in inputs_of(self.model)[:count]:
            shape = [d.dim_value or 1 for d in i.type.tensor_type.shape.dim]
            n = np.prod(shape)
            inputs.append((np.arange(n).reshape(shape) / n).astype(np.float32))
        stem = self._path()[:-len(".onnx")]
        outputs = [read_value(f"{stem}_output_{i}.pb", o.type) for i, o in enumerate(self.model.graph.output)]
        return [(inputs, outputs)]


def read_value(path, kind):
    with open(path, "rb") as f:
        data = f.read()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def load_tests(kinds=("node",)):
    warnings.simplefilter("ignore")  # the package overflows and divides by zero on purpose
    from onnx.backend.test.loader import load_model_tests
    cases = [case for kind in kinds for case in load_model_tests(kind=kind)]
    return sorted((Test(c) for c in cases), key=lambda t: t.name)


def operators(test):
    return sorted({n.op_type for n in test.model.graph.node})


# --------------------------------------------------------------------- one test
def inputs_of(model):
    """Inputs in the order of test data: initializers that are also inputs come last."""
    initializers = {t.name for t in model.graph.initializer}
    return sorted(model.graph.input, key=lambda i: i.name in initializers)


def feeds_of(test, inputs):
    """Inputs by name."""
    values = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in inputs]
    return {info.name: v if v is None or isinstance(v, list) else np.asarray(v)
            for info, v in zip(inputs_of(test.model), values)}


def make_dynamic(test):
    """A copy of the model with every dimension of the inputs symbolic, and those of the outputs unknown. Sizes that are
    equal get the same name, so that shapes which have to agree still do."""
    model = onnx.ModelProto.FromString(test.model.SerializeToString())
    initializers = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim if value.name not in initializers else ():
            if dim.HasField("dim_value"):
                dim.dim_param = f"n{dim.dim_value}"
    for value in model.graph.output:  # the rank stays
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return model


def make_constant(test, inputs):
    """A copy of the model with the values of its inputs, as far as they are tensors, as initializers."""
    model = onnx.ModelProto.FromString(test.model.SerializeToString())
    feeds = feeds_of(test, inputs)
    protos = {info.name: v for info, v in zip(inputs_of(test.model), inputs) if isinstance(v, onnx.TensorProto)}
    del model.graph.input[:]
    for info in test.model.graph.input:
        if info.name in feeds and info.type.HasField("tensor_type"):
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(protos.get(info.name) or numpy_helper.from_array(feeds[info.name]))
            tensor.name = info.name
        elif info.name not in {t.name for t in test.model.graph.initializer}:
            model.graph.input.add().CopyFrom(info)
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


def ulps(got, want):
    """Largest difference in units of the last place of what is expected. Where that is nearly 0, rounding is absolute:
    the unit is that of 1e-4, from where on the relative tolerance of the package's runner is the larger one."""
    worst = 0.0
    for g, w in zip(got, want):
        if isinstance(w, list):
            worst = max(worst, ulps(g, w))
        elif w is not None and np.asarray(w).dtype in (np.float16, np.float32, np.float64) and np.asarray(w).size:
            a, b, unit = g.astype(np.float64), np.asarray(w, np.float64), np.asarray(w).dtype.type
            finite = np.isfinite(b)
            if finite.any():
                spacing = np.spacing(np.maximum(np.abs(b[finite]), 1e-4).astype(unit)).astype(np.float64)
                worst = max(worst, float((np.abs(a[finite] - b[finite]) / spacing).max()))
    return worst


def run_data(test, artifact, inputs, outputs):
    """Runs an artifact on one data set: status, detail, units in the last place."""
    with Session(artifact, options.threads) as session:
        names = [i.name for i in session.get_inputs()]
        got = session.run(None, {k: v for k, v in feeds_of(test, inputs).items() if k in names})
    # Element types that numpy lacks come as protobuf.
    outputs = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in outputs]
    problem = check_values(test, got, outputs)
    return ("wrong", problem, 0) if problem else ("pass", "", ulps(got, outputs))


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


def status_of(code, output, path):
    """What a failed compilation is."""
    if code == 4:
        return "unsupported", reason_of(output), 0
    if code == 3:
        return "invalid", message_of(output, path), 0
    return "crash" if code < 0 or "reproducer" in output or "internal error" in output else "error", \
        "compiling: " + message_of(output, path), 0


def remaining(graph):
    """Operations of a printed module that compute something."""
    return set(re.findall(r"^\s*%\S+ = \"?nn\.(\w+)", graph, re.M)) - CONSTANT


def compile_and_run(test, mode, level, folder):
    path, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    worst = 0
    for index, (inputs, outputs) in enumerate(test.data_sets):
        if mode == "constants" or index == 0:
            model = make_dynamic(test) if mode == "dynamic" else make_constant(test, inputs) if mode == "constants" else test.model
            onnx.save(model, path)
            code, output = isolated.compile(path, artifact, level)
            if code != 0:
                return status_of(code, output, path)
        status, detail, units = run_data(test, artifact, inputs, outputs)
        worst = max(worst, units)
        if status != "pass":
            return status, detail, 0
        if mode == "constants" and level == 2 and not model.graph.input and test.kind != "real":
            isolated.compile(path, artifact, level, "nn")
            with open(artifact) as f:
                left = remaining(f.read())
                if left and not left & NOT_FOLDED:
                    return "unfolded", ", ".join(sorted(left)), 0
    if options.record and mode == "given":
        isolated.compile(path, artifact, 0, "nn")
        with open(artifact) as f:
            return "pass", "", (worst, sorted(remaining(f.read())))
    return "pass", "", worst


def fresh_process(test, level, folder):
    """The tools on files: nnopt-run --verify reads the data of ONNX tests."""
    path, artifact = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
    onnx.save(test.model, path)
    done = subprocess.run([tool("nnopt-compile"), path, "-o", artifact, f"--opt={level}", "--quiet"], capture_output=True,
                          text=True, errors="replace", timeout=TIMEOUT, cwd=folder)
    if done.returncode != 0:
        return status_of(done.returncode, done.stderr, path)
    for index, data in enumerate(test.data_sets):
        data_folder = os.path.join(folder, f"test_data_set_{index}")
        os.makedirs(data_folder)
        for prefix, values, infos in zip(("input", "output"), data, (test.model.graph.input, test.model.graph.output)):
            for i, (value, info) in enumerate(zip(values, infos)):
                with open(os.path.join(data_folder, f"{prefix}_{i}.pb"), "wb") as f:
                    f.write(to_proto(value, info).SerializeToString())
    tolerance = max(test.rtol, 2**-6) if any(o.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
                                             for o in test.model.graph.output) else test.rtol
    done = subprocess.run([tool("nnopt-run"), artifact, "--verify", folder, f"--rtol={tolerance}", f"--atol={test.atol}"],
                          capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
    if done.returncode < 0:
        return "crash", f"signal {-done.returncode}", 0
    if done.returncode != 0:
        return "wrong" if done.returncode == 1 else "error", message_of(done.stderr + done.stdout, artifact), 0
    return "pass", "", 0


def to_proto(value, info):
    if isinstance(value, onnx.TensorProto):
        return value
    if info.type.HasField("optional_type"):
        return numpy_helper.from_optional(value, info.name)
    if info.type.HasField("sequence_type"):
        return numpy_helper.from_list(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def run_job(index):
    test_index, mode, level = jobs[index]
    test = tests[test_index]
    with tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "conformance")) as folder:
        if mode == "fresh":
            try:
                return (index, *fresh_process(test, level, folder))
            except subprocess.TimeoutExpired:
                return index, "timeout", "", 0
        outcome, result = isolated.call(compile_and_run, test, mode, level, folder, timeout=TIMEOUT)
        if outcome == "done":
            return (index, *result)
        return index, "error" if outcome == "raised" else outcome, message_of(result, folder), 0


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


def name_of(job):
    """A test as expected_failures.txt names it: without its mode where it is the given one."""
    test, mode, _ = job
    return tests[test].name + ("" if mode == "given" else f"@{mode}")


def expected_status(entries, job):
    """An entry without mode holds for all of them."""
    names = name_of(job), tests[job[0]].name
    return next((status for pattern, status in entries for name in names if fnmatch.fnmatchcase(name, pattern)), "pass")


def plan():
    """The jobs: (index of test, mode, level)."""
    chosen = []
    for index, test in enumerate(tests):
        for mode in options.modes:
            for level in options.opt:
                every = options.sample
                if options.plan == "default" and (mode, level) == ("given", 2):
                    every = 1
                if options.plan == "full" and mode == "fresh":
                    every = 10
                if zlib.crc32(f"{test.name} {mode} {level}".encode()) % every == 0:
                    chosen.append((index, mode, level))
    return chosen


def write_summary(path, results):
    groups = collections.defaultdict(list)
    for index, status, detail, _ in results:
        if status != "pass":
            test, mode, level = jobs[index]
            op = ",".join(operators(tests[test])) if len(tests[test].model.graph.node) < 3 else "(several operators)"
            groups[status, op].append((name_of(jobs[index]), f"--opt={level} {detail}"))
    counts = collections.Counter(status for _, status, _, _ in results)
    with open(path, "w") as f:
        f.write(" ".join(f"{k}: {v}" for k, v in sorted(counts.items())) + "\n")
        for (status, op), members in sorted(groups.items()):
            f.write(f"\n{status}  {op}  ({len(members)})\n")
            for name, detail in members:
                f.write(f"    {name}  {detail}\n")


def write_list(results, entries):
    """Keeps the comments and the entries that still hold, and appends what is new."""
    failed = {name_of(jobs[i]): (status, detail) for i, status, detail, _ in results if status != "pass"}
    kept, covered = [], set()
    if os.path.exists(LIST):
        for line in open(LIST):
            fields = line.split("#")[0].split()
            if fields:
                matched = [n for n, (status, _) in failed.items() if status == fields[1] and
                           (fnmatch.fnmatchcase(n, fields[0]) or fnmatch.fnmatchcase(n.split("@")[0], fields[0]))]
                if not matched:
                    continue
                covered.update(matched)
            kept.append(line)
    with open(LIST, "w") as f:
        f.writelines(kept)
        for name in sorted(set(failed) - covered):
            status, detail = failed[name]
            f.write(f"{name} {status}  # {detail[:80]}\n")


def write_measured(results):
    """What the tests of one node say of an operator's version: how many there are, how many of them pass with dynamic
    sizes, the types of their inputs, the operations they become, and the largest error in units of the last place."""
    found = collections.defaultdict(lambda: {"tests": 0, "pass": 0, "dynamic": 0, "types": set(), "operations": set(), "ulp": 0.0})
    for index, status, _, facts in results:
        test, mode, _ = jobs[index]
        model = tests[test].model
        if len(model.graph.node) != 1:
            continue
        node, versions = model.graph.node[0], {o.domain: o.version for o in model.opset_import}
        try:
            schema = onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain)
        except onnx.defs.SchemaError:
            continue
        entry = found[f"{schema.domain or 'ai.onnx'} {schema.name} {schema.since_version}"]
        if mode == "dynamic":
            entry["dynamic"] += status == "pass"
            continue
        entry["tests"] += 1
        if status == "pass":
            entry["pass"] += 1
            entry["ulp"] = max(entry["ulp"], float(f"{facts[0]:.2g}"))
            entry["operations"].update(facts[1])
            entry["types"].update(onnx.TensorProto.DataType.Name(i.type.tensor_type.elem_type).lower()
                                  for i in model.graph.input if i.type.HasField("tensor_type"))
    if options.ops and os.path.exists(MEASURED):
        with open(MEASURED) as f:
            found = {**json.load(f), **found}
    with open(MEASURED, "w") as f:
        lines = [f'"{key}": {json.dumps({k: sorted(v) if isinstance(v, set) else v for k, v in entry.items()})}'
                 for key, entry in sorted(found.items())]
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    global tests, jobs, options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=["default", "full"])
    parser.add_argument("--ops", help="operators, separated by commas: tests of which any node is one")
    parser.add_argument("--name", help="pattern of test names")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--modes")
    parser.add_argument("--opt", default="2,0")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--summary")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    if options.record:
        options.kinds, options.modes, options.opt = "node", "given,dynamic", "2"
    options.modes = options.modes.split(",") if options.modes else MODES if options.plan else ["given"]
    options.opt = [int(level) for level in options.opt.split(",")]
    options.sample = options.sample or (10 if options.plan == "default" else 1)

    tests = load_tests(options.kinds.split(","))
    if options.ops:
        tests = [t for t in tests if set(options.ops.split(",")) & set(operators(t))]
    if options.name:
        tests = [t for t in tests if fnmatch.fnmatchcase(t.name, options.name)]
    jobs = plan()
    entries = read_list() if os.path.exists(LIST) else []
    os.makedirs(os.path.join(BUILD, "conformance"), exist_ok=True)
    isolated.load_compiler()

    passed, failed, results, begin = 0, 0, [], time.perf_counter()
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for index, status, detail, units in pool.imap_unordered(run_job, range(len(jobs)), chunksize=4):
            results.append((index, status, detail, units))
            expected = expected_status(entries, jobs[index])
            if status == expected:
                passed += 1
            else:
                failed += 1
            if status != expected or (options.v and status != "pass"):
                note = "" if expected == "pass" else f" (expected_failures.txt says {expected})"
                print(f"{'FAIL' if status != expected else 'known'}  {name_of(jobs[index])} --opt={jobs[index][2]}: "
                      f"{status}{note} {detail}", flush=True)
    results.sort()
    names = {name for job in jobs for name in (name_of(job), tests[job[0]].name)}
    if options.plan == "full" and not options.ops and not options.name and not options.update:
        for pattern, _ in entries:
            if not fnmatch.filter(names, pattern):
                failed += 1
                print(f"FAIL  expected_failures.txt: no test matches {pattern}")
    if options.summary:
        write_summary(options.summary, results)
    if options.update:
        write_list(results, entries)
    if options.record:
        write_measured(results)
    counts = collections.Counter(status for _, status, _, _ in results)
    used = os.times()
    print(", ".join(f"{v} {k}" for k, v in sorted(counts.items())), f"in {time.perf_counter() - begin:.0f} s,",
          f"{used.children_user + used.children_system:.0f} s of CPU, {options.jobs} jobs")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
