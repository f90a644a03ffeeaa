#!/usr/bin/env python3
"""Writes docs/onnx-status.md: every operator and version of ONNX that nnopt takes.

    status.py [--write | --check]

From the schemas of the onnx package, the emitters in lib/codegen/cpu, and measured.json (what the package's tests found:
backend.py --record). --check fails when the file is not what would be written. Ends with `N passed, N failed`.
"""
import argparse
import collections
import glob
import json
import os
import re
import sys

import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAGE = os.path.join(ROOT, "docs", "onnx-status.md")
OLDEST = 6
HEAD = f"""# Operators

Written by `test/conformance/status.py --write` for onnx {onnx.__version__}; `test/conformance/backend.py --record` measures.
Every operator and version in this table has an import rule (`test/frontend/coverage.py`).

- *opsets*: those in which a model means this version of the operator.
- *types*: what the schema lets the first operand be; in italics what no operator test of the package has
  (random cases of them are in `test/fuzz`).
- *dynamic*: whether the tests that pass also do when every size of every input is symbolic, or how many.
- *route*: the operations of the `nn` dialect that it becomes at `--opt=0`, and the folders of `lib/codegen/cpu` that have
  their kernels; *host* are operations of `libnnopt_ops`, a dash what is gone when compiling.
- *tests*: operator tests of the package with one node (without those that are expanded functions), and how many pass; those that do not are in
  `test/conformance/expected_failures.txt` with the reason (random numbers are other ones than numpy's).
- *ULP*: largest error of them at `--opt=2`, in units of the last place; of values below 1e-4, of the last place of 1e-4.
  It is large where terms cancel, or where the expected values were computed in another order or type.

Older versions that no test of the package has are one row.

"""
NAMES = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16"}


def short(name):
    name = name.replace("tensor(", "").replace(")", "")
    return NAMES.get(name, re.sub("^float", "f", re.sub("^uint", "u", re.sub("^int", "i", name))))


def kernels():
    """{operation: folder of lib/codegen/cpu}."""
    found = collections.defaultdict(set)
    for path in glob.glob(os.path.join(ROOT, "lib/codegen/cpu/*/*.cpp")):
        with open(path) as f:
            for operation in re.findall(r'RegisterEmitter \w+\(\{"nn\.(\w+)"', f.read()):
                found[operation].add(os.path.basename(os.path.dirname(path)))
    return found


def host_operations():
    with open(os.path.join(ROOT, "dialects/nn/NNHostOps.td")) as f:
        return set(re.findall(r'NN_\w*Op<"(\w+)"', f.read()))


def versions():
    """(domain, name, schema, first opset, last opset) of what models may mean."""
    known = collections.defaultdict(dict)
    for s in onnx.defs.get_all_schemas_with_history():
        if s.domain in ("", "ai.onnx.ml"):
            known[s.domain, s.name][s.since_version] = s
    for (domain, name), by_version in sorted(known.items()):
        oldest, newest = (OLDEST, onnx.defs.onnx_opset_version()) if not domain else (1, max(
            s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain))
        order = sorted(by_version)
        for version, following in zip(order, order[1:] + [newest + 1]):
            if following > oldest and not by_version[version].deprecated:
                yield domain, name, by_version[version], max(version, oldest), following - 1


def row(domain, name, schema, first, last, measured, routes, host):
    entry = measured.get(key(domain, name, schema))
    tested = {short(t) for t in entry["types"]} if entry else set()
    given = sorted({short(t) for t in schema.inputs[0].types} if schema.inputs else ())
    types = " ".join(t if t in tested else f"*{t}*" for t in given if not t.startswith("complex"))
    cells = [f"{domain}.{name}" if domain else name, f"{first}-{last}" if last > first else str(first), types]
    if not entry:
        return cells + ["", "", "0", ""]
    operations = entry["operations"]
    folders = {folder for o in operations for folder in ({"host"} if o in host else routes.get(o) or {"memory"})}
    route = f"{' '.join(operations)} ({', '.join(sorted(folders))})" if operations else "-"
    dynamic = "" if not entry["pass"] else "yes" if entry["dynamic"] == entry["pass"] else f"{entry['dynamic']} of {entry['pass']}"
    tests = str(entry["tests"]) if entry["pass"] == entry["tests"] else f"{entry['pass']} of {entry['tests']}"
    return cells + [dynamic, route, tests, f"{entry['ulp']:g}"]


def ranges(measured):
    """versions(), where neighbours without tests are one, with the types of the newest of them."""
    merged = []
    for domain, name, schema, first, last in versions():
        tested = key(domain, name, schema) in measured
        if merged and not tested and merged[-1][:2] == (domain, name) and merged[-1][4] == first - 1 \
                and key(*merged[-1][:3]) not in measured:
            first = merged.pop()[3]
        merged.append((domain, name, schema, first, last))
    return merged


def key(domain, name, schema):
    """Of an entry in measured.json."""
    return f"{domain or 'ai.onnx'} {name} {schema.since_version}"


def page():
    with open(os.path.join(HERE, "measured.json")) as f:
        measured = json.load(f)
    routes, host = kernels(), host_operations()
    columns = ["operator", "opsets", "types", "dynamic", "route", "tests", "ULP"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row(*v, measured, routes, host)) + " |" for v in ranges(measured)]
    return HEAD + "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if not os.path.exists(os.path.join(HERE, "measured.json")):
        print("FAIL  measured.json is not there; test/conformance/backend.py --record")
        print("0 passed, 1 failed")
        return 1
    text = page()
    if options.write:
        with open(PAGE, "w") as f:
            f.write(text)
    fresh = os.path.exists(PAGE) and open(PAGE).read() == text
    if not fresh:
        print("FAIL  docs/onnx-status.md is not what would be written; test/conformance/status.py --write")
    print(f"{int(fresh)} passed, {int(not fresh)} failed")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
