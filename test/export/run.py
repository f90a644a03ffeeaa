#!/usr/bin/env python3
"""Optimized models written back to ONNX (nnopt-compile --emit=onnx) against the models they come from.

    run.py [--set=small|default|full] [--only=NAME,..] [--graphs=N] [--seed=N] [--nodes=N] [--huge] [--keep=DIR] [--jobs=N]

Models: those of test/models (--set, --only). Graphs: random ones of test/passes/numeric.py. Of each, exported by
default and at --opt=0:
  - the checker of the onnx package accepts it (full_check), names of inputs and outputs and symbolic dimensions
    are kept, and no node at --opt=0 has a name that the original has not;
  - onnxruntime computes the same as of the original (1e-4 of an output's scale, generated graphs 1e-5);
  - exporting again gives the same bytes;
  - fused for our kernels (--passes=nnopt-default, graphs only) and exported, it still computes the same;
  - importing it gives the graph that was exported, up to names. By default, operations that had to be written out in
    several operators must be put together again by the passes, or are counted as "another graph".
Nodes: every N-th operator test of the onnx package, exported at --opt=0 and run by onnxruntime, or by the package's
reference where onnxruntime has no kernel, against the expected outputs or, where onnxruntime misses these itself, what it
computes of the original. Ends with `N passed, N failed`.
"""
import argparse
import collections
import fnmatch
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", folder) for folder in ("support", "models", "passes", "conformance")]
import numpy as np
import onnx
from onnx import numpy_helper

import backend
import corpus
import nnopt
import numeric

TOLERANCE = 1e-4

# Operations without export rule, and why; any other that is refused is a failure.
HOST = "a value of the host: the exporter writes tensors of numbers"
NO_RULE = {
    "input": HOST, "nn.concat_from_sequence": HOST, "nn.image_decode": HOST, "nn.lookup": HOST, "nn.map_lookup": HOST,
    "nn.map_values": HOST, "nn.number_to_string": HOST, "nn.optional_construct": HOST, "nn.optional_get": HOST,
    "nn.optional_has": HOST, "nn.regex_full_match": HOST, "nn.sequence_at": HOST, "nn.sequence_construct": HOST,
    "nn.sequence_erase": HOST, "nn.sequence_insert": HOST, "nn.sequence_length": HOST, "nn.split_to_sequence": HOST,
    "nn.string_concat": HOST, "nn.string_equal": HOST, "nn.string_lookup": HOST, "nn.string_normalize": HOST,
    "nn.string_pool": HOST, "nn.string_split": HOST, "nn.string_take": HOST, "nn.string_to_number": HOST, "nn.zip_map": HOST,
    "nn.ngram_count": "TfIdfVectorizer, which is imported as a table of its own",
    "nn.tree_ensemble": "ai.onnx.ml, which is imported as a table of its own",
    "nn.loop": HOST, "nn.quantize": "a scale for each block of a dimension whose size is not known", "nn.dequantize": "as nn.quantize",
    "nn.resize": "keep_aspect_ratio_policy with sizes known at run time has been computed; no operands say it",
    "nn.inverse": "no operator of ONNX inverts matrices",
}


class Failure(Exception):
    pass


def tool(name, *arguments):
    """stdout of a tool that must succeed."""
    done = subprocess.run([nnopt.tool(name), *arguments], capture_output=True)
    if done.returncode != 0:
        raise nnopt.CompileError(done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout.decode()


# --------------------------------------------------------------------- equality of graphs
def canonical(text):
    """The lines of a printed module, with constants written where they are used, without operations that nobody uses,
    and with values numbered in order."""
    constants, names, lines, count = {}, {}, [], 0

    def define(name):
        nonlocal count
        count += 1
        constants.pop(name, None)
        names[name] = f"%v{count}"
        return names[name]

    for line in text.splitlines():
        if line.startswith("{-#"):
            break
        line = re.sub(r"dense_resource<[^>]*>", "dense_resource", re.sub(r"^module.*\{$", "module {", line))
        if re.match(r"\s*(\^bb|func\.func)", line):
            lines.append(re.sub(r"%\w+", lambda m: define(m[0]), line))
            continue
        line = re.sub(r"(?<!^)(%\w+)(#\d+)?", lambda m: constants.get(m[1]) or names.get(m[1], m[1]) + (m[2] or ""),
                      line.lstrip())
        result = re.match(r"(%\w+)(:\d+)? = (.*)", line)
        if not result:
            lines.append(line)
        elif result[3].startswith("nn.constant "):
            constants[result[1]] = f"<{result[3][12:]}>"
        else:
            lines.append(define(result[1]) + (result[2] or "") + " = " + result[3])
    while True:
        used = set(re.findall(r"(?<!^)%v\d+", "\n".join(lines), re.M))
        live = [line for line in lines
                if not re.match(r"%v\d+", line) or line.endswith("{") or re.match(r"%v\d+", line)[0] in used]
        if len(live) == len(lines):
            break
        lines = live
    order = {}
    return [re.sub(r"%v\d+", lambda m: order.setdefault(m[0], f"%{len(order)}"), line) for line in lines]


def operations(lines):
    """What there is, in any order."""
    return collections.Counter(re.findall(r" = nn\.(\w+)| (bias) |[{ ](transpose_[ab])[,}]", "\n".join(lines)))


def compare_graphs(original, exported, level):
    """Whether the import of the export is the graph that was exported; raises where it should be."""
    a = canonical(tool("nnopt-opt", original, "--cse") if level == "0" else
                  tool("nnopt-compile", original, "--passes=nnopt-graph", "--emit=nn", "--quiet"))
    b = canonical(tool("nnopt-opt", exported, "--cse"))
    if a == b:
        return True
    if level != "0" and operations(a) != operations(b):
        # Some operations had to be written out in several operators. The passes put them together again, though they may
        # find more than at first, because other passes have seen the parts.
        a = canonical(tool("nnopt-compile", original, "--passes=nnopt-graph,nnopt-default", "--emit=nn", "--quiet"))
        b = canonical(tool("nnopt-compile", exported, "--emit=nn", "--quiet"))
        return a == b
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    raise Failure(f"the import of the export at --opt={level} is another graph:\n" +
                  "\n".join(f"{sign} {line[:400]}" for sign, lines in (("-", a), ("+", b)) for line in lines[max(0, at - 2):at + 2]))


# --------------------------------------------------------------------- one model
def symbols(model):
    initializers = {t.name for t in model.graph.initializer}
    return {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim]
            for v in model.graph.input if v.name not in initializers}


def check_names(original, exported, level):
    if symbols(original) != symbols(exported):
        raise Failure(f"inputs are {symbols(exported)}, not {symbols(original)}")
    if [v.name for v in original.graph.output] != [v.name for v in exported.graph.output]:
        raise Failure("the names of outputs differ")
    if level == "0" and original.graph.node and original.graph.node[0].name:
        known = {n.name for n in original.graph.node}
        kept = sum(n.name in known for n in exported.graph.node)
        if not kept >= 0.5 * len([n for n in original.graph.node if n.op_type != "Constant"]):
            raise Failure(f"only {kept} of {len(known)} names of nodes are kept")


def export(path, out, level, *more):
    tool("nnopt-compile", path, "--emit=onnx", f"--opt={level}", "-o", out, "--quiet", *more)


def compare_outputs(original, exported, feeds, tolerance):
    reference, session = nnopt.reference_session(original), nnopt.reference_session(exported)
    names = [o.name for o in reference.get_outputs()]
    for name, got, want in zip(names, session.run(None, feeds), reference.run(None, feeds)):
        error = nnopt.difference(np.asarray(got), np.asarray(want))
        if not error <= tolerance:
            raise Failure(f"output {name}: error {error:.2e} of its scale, allowed {tolerance:.0e}")


def check_fused(path, feeds, folder, tolerance):
    """Layouts and fusion undone by the export."""
    out = os.path.join(folder, "fused.onnx")
    export(path, out, "2", "--passes=nnopt-default")
    onnx.checker.check_model(out, full_check=True)
    compare_outputs(path, out, feeds, tolerance)


def check_export(path, feeds_list, folder, level, tolerance):
    """Exports at a level and checks everything; raises what is wrong. Returns whether the graph came back."""
    out, again = (os.path.join(folder, f"{name}{level}.onnx") for name in ("export", "again"))
    export(path, out, level)
    onnx.checker.check_model(out, full_check=True)
    original, exported = (onnx.load(p, load_external_data=False) for p in (path, out))
    check_names(original, exported, level)
    export(path, again, level)
    with open(out, "rb") as a, open(again, "rb") as b:
        if a.read() != b.read():
            raise Failure("two exports have different bytes")
    os.remove(again)
    for feeds in feeds_list:
        compare_outputs(path, out, feeds, tolerance)
    return compare_graphs(path, out, level), len(exported.graph.node)


def run_model(name):
    model, notes = models[name], []
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.prepare()
            second = model.second_inputs()
            feeds = [model.example] + ([second] if second is not None else [])
            for level in ("2", "0"):
                same, nodes = check_export(model.path, feeds, folder, level, TOLERANCE)
                notes.append(f"{nodes} nodes at --opt={level}" + ("" if same else " (another graph)"))
        finally:
            model.discard()
    return f"{len(model.proto.graph.node)} nodes, " + ", ".join(notes)


def run_graph(seed):
    """A random graph of numeric.py."""
    rng = random.Random(seed)
    kinds = [k for k, (_, weight) in numeric.KINDS.items() for _ in range(weight)]
    kind, dtype = rng.choice(kinds), rng.choice([np.float32, np.float32, np.float64])
    graph = numeric.Graph(rng, dtype)
    model = numeric.KINDS[kind][0](graph)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        onnx.save(model, path)
        try:
            # onnxruntime has few kernels for f64: these are compared as graphs only.
            single = dtype == np.float32
            same = [check_export(path, [graph.feeds] if single else [], folder, level, 1e-5)[0] for level in ("2", "0")]
            if single:
                check_fused(path, graph.feeds, folder, 1e-5)
        except Exception:
            if options.keep:
                os.makedirs(options.keep, exist_ok=True)
                onnx.save(model, os.path.join(options.keep, f"{kind}-{seed}.onnx"))
            raise
    return "same" if all(same) else "another graph"


def run_huge(_):
    """A weight above 2 GB (a file with a hole, but for some rows): the export has a data file of its own accord."""
    rows, width = 9_000_000, 64
    with tempfile.TemporaryDirectory(dir=nnopt.BUILD) as folder:
        path, out = os.path.join(folder, "huge.onnx"), os.path.join(folder, "out.onnx")
        table = np.memmap(os.path.join(folder, "table.bin"), np.float32, "w+", shape=(rows, width))
        wanted = np.array([0, 17, rows // 2, rows - 1])
        table[wanted] = np.arange(4 * width, dtype=np.float32).reshape(4, width)
        table.flush()
        tensor = onnx.TensorProto(name="table", data_type=onnx.TensorProto.FLOAT, dims=[rows, width],
                                  data_location=onnx.TensorProto.EXTERNAL)
        for key, value in (("location", "table.bin"), ("offset", "0"), ("length", str(table.nbytes))):
            tensor.external_data.add(key=key, value=value)
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Gather", ["table", "rows"], ["y"], name="gather")], "huge",
            [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.INT64, ["n"])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", width])], [tensor])
        with open(path, "wb") as file:
            file.write(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)],
                                              ir_version=8).SerializeToString())
        export(path, out, "2")
        if os.path.getsize(out) > 10_000 or os.path.getsize(out + ".data") < table.nbytes:
            raise Failure("the weight is not in the data file")
        onnx.checker.check_model(out)
        got = nnopt.reference_session(out).run(None, {"rows": wanted})[0]
        if not np.array_equal(got, table[wanted]):
            raise Failure("other rows")
    return ""


# --------------------------------------------------------------------- operator tests
def run_anywhere(path, feeds):
    """Outputs by onnxruntime, or by the reference where onnxruntime has no kernel."""
    try:
        return nnopt.reference_session(path, 1).run(None, feeds)
    except Exception:
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(path).run(None, feeds)


def run_node(index):
    """Whether the test counts, and a note."""
    test = tests[index]
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "m.onnx"), os.path.join(folder, "out.onnx")
        onnx.save(test.model, path)
        try:
            export(path, out, "0")
        except nnopt.CompileError as e:
            # What cannot be imported is the concern of test/conformance; nn operations without ONNX form are ours.
            lines = [l for l in e.output.splitlines() if "sequences, optionals and maps are not exported" not in l]
            refused = re.findall(r"^\s*(input|nn\.\w+)  ", "\n".join(lines), re.M)
            if e.code in (3, 4) and all(op in NO_RULE for op in refused):
                return None
            raise
        onnx.checker.check_model(out, full_check=True)
        if any(node.op_type.startswith("Random") for node in onnx.load(out).graph.node):
            return ""  # Other numbers each time.
        for inputs, outputs in test.data_sets:
            inputs, outputs = ([numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]
                               for values in (inputs, outputs))
            wanted = {v.name for v in onnx.load(out).graph.input}
            feeds = dict(zip([v.name for v in test.model.graph.input], inputs))
            feeds = {k: np.asarray(v) for k, v in feeds.items()}
            got = [np.asarray(g) for g in run_anywhere(out, {k: v for k, v in feeds.items() if k in wanted})]
            problem = backend.check_values(test, got, outputs)
            # Some kernels of onnxruntime do not meet the tolerance themselves.
            if problem and backend.check_values(test, got, [np.asarray(g) for g in run_anywhere(path, feeds)]):
                raise Failure(problem)
    return ""


# --------------------------------------------------------------------- all
def guarded(job):
    kind, argument = job
    name = tests[argument].name if kind == "node" else f"--graphs=1 --seed={argument}" if kind == "graph" else argument
    try:
        function = {"model": run_model, "graph": run_graph, "node": run_node, "huge": run_huge}[kind]
        note = function(argument)
        return kind, name, None if note is None else True, note
    except Exception as e:
        text = str(e) if isinstance(e, (Failure, nnopt.CompileError)) else traceback.format_exc(limit=-2)
        return kind, name, False, text.strip()


def main():
    global tests, options, models
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["none", "small", "default", "full"], default="small")
    parser.add_argument("--only", help="names of models, separated by commas")
    parser.add_argument("--graphs", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=12, metavar="N", help="every N-th operator test; 0: none")
    parser.add_argument("--huge", action="store_true", help="also a model above 2 GB")
    parser.add_argument("--name", default="*", help="pattern of operator tests")
    parser.add_argument("--keep", help="folder for generated graphs that failed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    models = {m.name: m for m in corpus.models("full" if options.only else options.set)} if options.set != "none" else {}
    if options.only:
        models = {name: models[name] for name in options.only.split(",")}
    tests = backend.load_tests() if options.nodes else []
    chosen = [i for i, t in enumerate(tests) if fnmatch.fnmatchcase(t.name, options.name)]
    jobs = [("model", m) for m in models] + [("graph", options.seed + i) for i in range(options.graphs)] + \
        [("node", i) for i in chosen[::options.nodes or 1]] + [("huge", "huge")] * options.huge
    passed = failed = skipped = 0
    same = collections.Counter()
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for kind, name, ok, note in pool.imap_unordered(guarded, jobs):
            passed, failed, skipped = passed + (ok is True), failed + (ok is False), skipped + (ok is None)
            if kind == "graph" and ok:
                same[note] += 1
            if ok is False or (ok and kind == "model"):
                print(f"{'ok   ' if ok else 'FAIL '} {kind} {name}: " + "\n      ".join(note.splitlines()[:14]), flush=True)
    if same:
        print(f"{same['same']} random graphs came back as they were, {same['another graph']} as another one after the "
              "default passes, because operations were written out")
    if skipped:
        print(f"{skipped} operator tests are not supported by the importer, or need operations of NO_RULE")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
