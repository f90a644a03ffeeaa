#!/usr/bin/env python3
"""Random models through nnopt, the reference evaluator of the onnx package, and onnxruntime.

    differential.py [--kind=ops|graphs] [--cases=N] [--first=N] [--seed=N] [--only=N] [--ops=Conv,Pad] [--jobs=N]
                    [--keep=DIR] [-v]

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
from peers import PEERS, as_inferred, difference, inferred_types, wrong_peers

KINDS = ("ops", "graphs")
TIMEOUT = 120
# What is refused although a peer runs it, by the reasons that the table gives: ranks must be known when compiling, here
# and in the models that cases make they are not declared.
REFUSED = ["or the rank of the result declared", "or attribute 'kernel_shape' given",
           "is not known when compiling; declare", "give values of different ranks"]
# Operators without a recipe.
WITHOUT_RECIPE = {
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
                     "RandomUniformLike"),
                    "random: test/conformance/random_numbers.py tests distributions"),
    "ImageDecoder": "reads files of formats: test/conformance/backend.py decodes those of the onnx package",
    "Gradient": "differentiates a graph by names, for training: not supported",
    "FlexAttention": "of a preview domain, and changes with releases: test/conformance/backend.py runs its node tests"}
options = None
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

    # The reference takes long for graphs: it is asked about them where onnxruntime is not agreed with.
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
        np.savez(stem + ".npz", **{k: v if isinstance(v, np.ndarray) else np.array(v, object)
                                   for k, v in case.feeds.items()})
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
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())) + f"; {spent:.0f} s of CPU")
    failed = sum(counts[v] for v in ("refused", "wrong", "failed"))
    print(f"{len(indices) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
