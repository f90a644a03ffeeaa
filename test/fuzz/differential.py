#!/usr/bin/env python3
"""Random models through nnopt, the reference evaluator of the onnx package, and onnxruntime.

    differential.py [--kind=ops|graphs] [--cases=N] [--first=N] [--seed=N] [--only=N] [--ops=Conv,Pad] [--jobs=N] [--keep=DIR]

ops: single operators of all opsets that are supported (recipes: operators.py, movement.py, layers.py, vision.py,
containers.py, classical.py); graphs: 10 to 60 nodes (graphs.py). Each is compiled at --opt=2 and --opt=0, every other
graph at --opt=2 only, as code generation takes most of the time. A case passes when the outputs agree with either peer;
when neither peer runs it, an error with exit code 3 or 4, or from the runtime, will do as well. Findings: other outputs
than both, a refusal of what a peer runs, or of any graph, a crash, and an operator of the onnx package that has neither
a recipe nor a reason in WITHOUT_RECIPE. Case N depends on seed and N alone: --only=N runs it again, --keep writes model
and inputs. Ends with `N passed, N failed`.
"""
import argparse
import collections
import multiprocessing
import os
import sys
import tempfile
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import numpy as np
import onnx
import onnx.reference
import onnxruntime

import classical  # noqa: F401: this and others add their recipes
import containers  # noqa: F401
import graphs
import isolated
import layers  # noqa: F401
import movement  # noqa: F401
import operators
import vision  # noqa: F401
from draw import NEWEST, Draw, Skip
from nnopt import BUILD, Session

KINDS = ("ops", "graphs")
TIMEOUT = 120
# What is refused although a peer runs it: the reasons that the table gives. The rank of the result, and the code of a
# window, depend on these sizes.
REFUSED = ["its length must be known when compiling", "the kernel's shape must be static",
           "their last dimension must be static", "the number of channels must be static",
           "the rank of the result must be known when compiling", "known when compiling: it is the rank of the result",
           "the dimensions of the weight must be static", "the head size must be static",
           "probabilities of more than two classes"]
# Peers that are wrong: (peers, operators, how, and where not always for which nodes and types of their first input).
WRONG_PEERS = [
    ("reference", "LRN", "sums over channels for the first images only"),
    ("reference", "GlobalMaxPool", "forgets a dimension of size 1"),
    ("reference", "QLinearConv", "adds the zero point before it rounds; makes two dimensions of one"),
    ("reference", "RNN GRU LSTM", "ignores lengths, clip, input_forget, and activations",
     lambda node, kind: len(node.input) > 4 and node.input[4] or has(node, "clip", "input_forget", "activations")),
    ("reference", "Attention", "has scores after the soft cap where those before are asked for",
     lambda node, kind: len(node.output) > 3 and has(node, "softcap")),
    ("reference", "LpNormalization", "leaves signs on where p is 1", lambda node, kind: any(a.name == "p" and a.i == 1 for a in node.attribute)),
    ("reference", "Loop", "joins what it should stack, along the first dimension",
     lambda node, kind: len(node.output) > max(0, len(node.input) - 2)),
    ("reference", "StringNormalizer", "drops empty texts, and keeps stop words in other cases"),
    ("reference", "Optional", "makes a list of a tensor"),
    ("reference", "TreeEnsembleRegressor TreeEnsembleClassifier LinearRegressor LinearClassifier SVMRegressor SVMClassifier",
     "computes in integers where the input has such", lambda node, kind: kind.startswith("int")),
    ("reference", "TreeEnsemble", "has no transforms", lambda node, kind: has(node, "post_transform")),
    ("onnxruntime", "TreeEnsemble", "leaves targets that no leaf gave a score out of transforms",
     lambda node, kind: has(node, "post_transform")),
    ("onnxruntime reference", "SVMClassifier", "iterates for a probability that two classes give directly, and stops early",
     lambda node, kind: has(node, "prob_a") and any(a.name == "rho" and len(a.floats) == 1 for a in node.attribute)),
    ("onnxruntime", "CastMap", "writes numbers with six digits, and 0.f for what is missing",
     lambda node, kind: any(a.s == b"TO_STRING" for a in node.attribute)),
    ("reference", "LinearClassifier", "divides 0 by 0 for SOFTMAX_ZERO",
     lambda node, kind: any(a.s == b"SOFTMAX_ZERO" for a in node.attribute))]
# Operators without a recipe.
WITHOUT_RECIPE = {
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
                    "random: test/conformance/random_numbers.py tests distributions"),
    "ImageDecoder": "reads files of formats: test/conformance/backend.py decodes those of the onnx package",
    "Gradient": "differentiates a graph by names, for training: not supported",
    "FlexAttention": "of a preview domain, and changes with releases: test/conformance/backend.py runs its node tests"}
RTOL = {"float64": 1e-6, "float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2}
options = None


def has(node, *attributes):
    """Whether a node has one of these attributes."""
    return any(a.name in attributes for a in node.attribute)


def wrong_peers(case):
    """Whose answer does not count."""
    node = case.model.graph.node[0]
    graph = case.model.graph
    first = [v.type.tensor_type.elem_type for v in graph.input if v.name == "x0"] + [v.data_type for v in graph.initializer if v.name == "x0"]
    kind = onnx.helper.tensor_dtype_to_np_dtype(first[0]).name if first and first[0] else ""
    return {peer for peers, ops, _, *which in WRONG_PEERS if node.op_type in ops.split() and all(w(node, kind) for w in which)
            for peer in peers.split()}


stage = multiprocessing.RawArray("c", 16)  # what a child was doing when it died


# --------------------------------------------------------------------- cases
def versions():
    """{operator: {version: schema}} of operators that have a recipe."""
    found = collections.defaultdict(dict)
    for s in onnx.defs.get_all_schemas_with_history():
        if s.domain in NEWEST and s.name in operators.RECIPES:
            found[s.name][s.since_version] = s
    return dict(found)


def forgotten():
    """Operators with neither a recipe nor a reason, and names in either that are no operators."""
    names = {s.name for s in onnx.defs.get_all_schemas_with_history()}
    known = operators.RECIPES.keys() | WITHOUT_RECIPE.keys()
    return sorted(names ^ known) + sorted(operators.RECIPES.keys() & WITHOUT_RECIPE.keys())


def make_case(index):
    """The case of an index; choices that contradict each other are made again."""
    for attempt in range(100):
        draw = Draw(f"{options.seed} {options.kind} {index} {attempt}")
        try:
            if options.kind == "graphs":
                return graphs.make(draw)
            known = versions()
            name = draw.choice(options.ops.split(",") if options.ops else sorted(known))
            schema, opset = draw.schema(known[name])
            return operators.RECIPES[name](draw, schema, opset)
        except Skip:
            continue
    raise RuntimeError(f"case {index}: no choice made a case")


# --------------------------------------------------------------------- peers
def run_reference(case, path):
    with np.errstate(all="ignore"):
        return onnx.reference.ReferenceEvaluator(case.model).run(None, case.feeds)


def run_onnxruntime(case, path):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return session.run(None, case.feeds)


PEERS = {"reference": run_reference, "onnxruntime": run_onnxruntime}


def inferred_types(model):
    """The element types of a model's outputs by the type inference of the onnx package, or where it has none by the
    schema, if that allows one only; None: no tensor, or unknown."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # it is no judge of a model
        graph = model.graph
    node = graph.node[-1]
    domains = {o.domain: o.version for o in model.opset_import}
    formal = onnx.defs.get_schema(node.op_type, domains[node.domain], node.domain).outputs
    types = []
    for i, output in enumerate(graph.output):
        code = output.type.tensor_type.elem_type
        if not code and len(graph.node) == 1 and i < len(formal) and len(formal[i].types) == 1:
            code = {"tensor(float)": onnx.TensorProto.FLOAT, "tensor(int64)": onnx.TensorProto.INT64}.get(next(iter(formal[i].types)), 0)
        types.append(onnx.helper.tensor_dtype_to_np_dtype(code) if code else None)
    return types


def as_inferred(outputs, types):
    """The outputs of the reference evaluator, where types of numpy show through (its sums of uint32 are uint64)."""
    with np.errstate(all="ignore"):
        return [np.asarray(v).astype(t) if t is not None and v is not None and not isinstance(v, (list, dict)) else v
                for v, t in zip(outputs, types)]


def difference(got, want, loose):
    """None where outputs agree, or what differs."""
    if len(got) != len(want):
        return f"{len(got)} outputs, not {len(want)}"
    for i, (g, w) in enumerate(zip(got, want)):
        if isinstance(w, dict) and isinstance(g, dict) and g.keys() == w.keys():
            g, w = [np.asarray(g[k]) for k in w], [np.asarray(w[k]) for k in w]
        if any(isinstance(v, (list, dict)) for v in (g, w)):
            if type(g) is not type(w):
                return f"output {i} is a {type(g).__name__}, not a {type(w).__name__}"
            if problem := difference(g, w, loose):
                return f"output {i}, element: {problem}"
            continue
        if g is None or w is None:
            if g is not w:
                return f"output {i} is {'absent' if g is None else 'present'}"
            continue
        g, w = np.asarray(g), np.asarray(w)
        g, w = (v.astype(object) if v.dtype.kind in "US" else v for v in (g, w))
        if g.dtype != w.dtype or g.shape != w.shape:
            return f"output {i} is {g.dtype}{list(g.shape)}, not {w.dtype}{list(w.shape)}"
        if not w.size or w.dtype.kind in "OUS":
            if g.tolist() != w.tolist():
                return f"output {i} is {g.tolist()}, not {w.tolist()}"
            continue
        if w.dtype.kind in "iub":
            if (wrong := np.count_nonzero(g != w)):
                return f"output {i}: {wrong} of {w.size} elements differ, first {g[g != w][0]}, not {w[g != w][0]}"
            continue
        a, b = g.astype(np.float64), w.astype(np.float64)
        finite = b[np.isfinite(b)]
        scale = min(np.abs(finite).max(), 1e30) if finite.size else 1
        rtol = RTOL.get(w.dtype.name, 0.25) * loose
        if not np.allclose(a, b, rtol=rtol, atol=rtol * 0.1 * scale, equal_nan=True):
            wrong = ~np.isclose(a, b, rtol=rtol, atol=rtol * 0.1 * scale, equal_nan=True)
            return f"output {i}: {np.count_nonzero(wrong)} of {w.size} elements differ, first {a[wrong][0]:.9g}, not {b[wrong][0]:.9g}"
    return None


# --------------------------------------------------------------------- one case
def run_nnopt(case, path, level):
    """("done", outputs), ("refused", message), or a finding."""
    artifact = path[:-len(".onnx")] + f"{level}.so"
    code, message = isolated.compile(path, artifact, level)
    if code in (3, 4):
        return "refused", f"exit {code}: {' '.join(message.replace(path, '').split())[:300]}"
    if code != 0:
        return "failed", f"exit {code}: {' '.join(message.split())[:300]}"
    try:
        with Session(artifact, 1) as session:
            names = [i.name for i in session.get_inputs()]
            return "done", session.run(None, {k: v for k, v in case.feeds.items() if k in names})
    except RuntimeError as e:
        return "refused", f"at run time: {e}"


def check(case, folder, skip, levels):
    """(verdict, detail): "pass", "peers differ", "neither", "refused", "wrong", "failed"."""
    path = os.path.join(folder, "model.onnx")
    onnx.save(case.model, path)
    warnings.simplefilter("ignore")
    peers, errors = {}, {}
    stage.value = b"preparation"
    types = inferred_types(case.model)
    if options.kind == "ops":
        skip = skip | wrong_peers(case)

    def ask(name):
        stage.value = name.encode()
        try:
            peers[name] = as_inferred(PEERS[name](case, path), types)
        except Exception as e:
            errors[name] = f"{type(e).__name__}: {e}"
        stage.value = b"nnopt"

    # Both are asked about operators; the reference takes long for graphs, and is asked where onnxruntime is not agreed with.
    for name in ("onnxruntime",) if options.kind == "graphs" else PEERS:
        if name not in skip:
            ask(name)
    for level in levels:
        outcome, got = run_nnopt(case, path, level)
        if outcome == "failed":
            return "failed", f"--opt={level} {got}"
        if outcome == "refused":
            if not peers and options.kind == "ops":
                continue
            return "refused", f"--opt={level} {got} ({', '.join(peers)} run it)"
        problems = {name: difference(got, want, case.loose) for name, want in peers.items()}
        if all(problems.values()) and (left := PEERS.keys() - skip - peers.keys() - errors.keys()):
            ask(left.pop())
            problems = {name: difference(got, want, case.loose) for name, want in peers.items()}
        if problems and all(problems.values()):
            return "wrong", f"--opt={level} " + "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    if not peers:
        return "neither", "; ".join(f"{k}: {v[:150]}" for k, v in errors.items())
    if len(peers) == 2 and difference(peers["reference"], peers["onnxruntime"], case.loose):
        return "peers differ", ""
    return "pass", ""


def run_case(index):
    case = make_case(index)
    with tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "fuzz-models")) as folder:
        skip = set()
        while True:
            levels = (2,) if options.kind == "graphs" and index % 2 else (2, 0)
            outcome, result = isolated.call(check, case, folder, skip, levels, timeout=TIMEOUT)
            at = stage.value.decode()
            if outcome == "done":
                verdict, detail = result
            elif outcome in ("crash", "timeout") and at in PEERS and at not in skip:
                skip.add(at)
                continue
            else:
                verdict, detail = "failed", f"{outcome} {result} in {at}"
            break
    if verdict == "refused" and any(text in detail for text in REFUSED):
        verdict = "known refusal"
    if options.keep and verdict in ("refused", "wrong", "failed"):
        os.makedirs(options.keep, exist_ok=True)
        stem = os.path.join(options.keep, f"{options.kind}-{options.seed}-{index}")
        onnx.save(case.model, stem + ".onnx")
        np.savez(stem + ".npz", **{k: np.array(v, object) if isinstance(v, (list, dict)) or v is None else v for k, v in case.feeds.items()})
    return index, case.name, verdict, detail


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="ops")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run one case")
    parser.add_argument("--ops", help="of these operators only; other cases than without")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", help="a folder for models and inputs of findings")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    os.makedirs(os.path.join(BUILD, "fuzz-models"), exist_ok=True)
    if options.kind == "ops" and (names := forgotten()):
        print(f"FAIL  neither recipe nor reason, or both, or no operator: {', '.join(names)}")
        print("0 passed, 1 failed")
        return 1
    isolated.load_compiler()
    indices = [options.only] if options.only is not None else range(options.first, options.first + options.cases)
    begin = time.process_time(), os.times().children_user + os.times().children_system
    counts = collections.Counter()
    with multiprocessing.get_context("fork").Pool(min(options.jobs, len(indices))) as pool:
        for index, name, verdict, detail in pool.imap_unordered(run_case, indices, chunksize=2):
            counts[verdict] += 1
            finding = verdict in ("refused", "wrong", "failed")
            if finding or options.v:
                print(f"{'FAIL' if finding else 'note'}  --kind={options.kind} --seed={options.seed} --only={index} "
                      f"{name}: {verdict}: {detail}", flush=True)
        pool.close()
        pool.join()
    spent = time.process_time() + os.times().children_user + os.times().children_system - sum(begin)
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())) + f"; {len(indices) / max(spent, 1e-9):.1f} cases a second of CPU")
    failed = sum(counts[v] for v in ("refused", "wrong", "failed"))
    print(f"{len(indices) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
