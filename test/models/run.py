#!/usr/bin/env python3
"""Compiles real models and compares their outputs with onnxruntime.

    run.py [--set=small|default|full] [--only=a,b] [--json=FILE] [--write-docs] [--keep] [--threads=N]

Each model is compiled by default and with --opt=0, with its dimensions left dynamic, and run on its example
inputs; the default artifact also runs on inputs of other sizes. The error is max |difference| / max |reference|
of the worst output. Trained models must keep their metric. --write-docs writes docs/models.md.
Ends with `N passed, N failed`; the exit status is 1 when a model failed.
"""
import argparse
import datetime
import json
import os
import platform
import sys
import time
import traceback

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")]
import numpy as np
import onnxruntime

import corpus
from nnopt import ROOT, CompileError, Session, compile, difference, reference_session

TOLERANCE = 1e-4
# Models that get 1e-3, with the reason.
LOOSE = {}


class Failure(Exception):
    pass


def errors(got, want, names):
    """The worst relative error, and which output has it."""
    return max((difference(np.asarray(g), np.asarray(w)), n) for g, w, n in zip(got, want, names))


def compare(label, session, feeds, reference, tolerance, result):
    want = reference.run(None, feeds)
    got = session.run(None, feeds)
    error, name = errors(got, want, [o.name for o in reference.get_outputs()])
    result[label] = error
    if not error <= tolerance:
        raise Failure(f"{label}: error {error:.2e} of the scale of output {name}, allowed {tolerance:.0e}")


def compare_metric(model, label, session, reference, result, limit=None):
    task, data = model.task(), model.data()
    name, want = task.evaluate(reference, data, limit)
    _, got = task.evaluate(session, data, limit)
    if limit is None:
        result["metric"] = f"{name} {got:.2f}"
    allowed = {"accuracy": 0.05, "psnr": 0.001, "perplexity": 1e-4 * want}[name]
    if not abs(got - want) <= allowed + 1e-9:
        raise Failure(f"{label}: {name} {got:.4f}, onnxruntime has {want:.4f}")


def run_model(model, options):
    result = {"model": model.name}
    model.prepare()
    tolerance = LOOSE.get(model.name, (TOLERANCE,))[0]
    result["ops"] = sum(n.op_type != "Constant" for n in model.proto.graph.node)
    artifact = os.path.join(corpus.CACHE, model.name + ".so")
    os.makedirs(corpus.CACHE, exist_ok=True)
    try:
        reference = reference_session(model.path)
        for label, flags in (("default", []), ("opt0", ["--opt=0"])):
            seconds, memory = compile(model.path, artifact, flags)
            with Session(artifact, options.threads) as session:
                if label == "default":
                    result["compile_s"], result["compile_bytes"] = seconds, memory
                compare(label, session, model.example, reference, tolerance, result)
                if label == "default":
                    result["kernels"] = session.count_launches(model.example)
                    used = session.memory()
                    result["weights_bytes"], result["arena_bytes"] = used.weights, used.arena
                    second = model.second_inputs()
                    if second is not None:
                        compare("second", session, second, reference, tolerance, result)
                    if model.kind == "trained":
                        compare_metric(model, "metric", session, reference, result)
                elif model.kind == "trained":
                    compare_metric(model, "metric at --opt=0", session, reference, result, limit=64)
    finally:
        if os.path.exists(artifact):
            os.remove(artifact)
        if not options.keep:
            model.discard()
    return result


def write_docs(results, which, path):
    lines = ["# Models", "",
             f"Written by `test/models/run.py --set={which} --write-docs` ({datetime.date.today()}, {platform.machine()},",
             f"onnxruntime {onnxruntime.__version__}). Every model is compiled with dynamic dimensions;",
             "errors are max |difference from onnxruntime| / max |reference| of the worst output, on the example inputs,",
             "and at other sizes for dynamic models. Kernels: launches of one run. MB = 10^6 bytes.", "",
             "| model | ONNX nodes | kernels | error | error, other sizes | error, `--opt=0` | compile s | weights MB | arena MB | metric |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    number = lambda r, key: f"{r[key]:.1e}" if key in r else ""
    for r in results:
        if "failure" in r:
            lines.append(f"| {r['model']} | {r.get('ops', '')} | {r['failure'].splitlines()[0]} | | | | | | | |")
            continue
        lines.append(f"| {r['model']} | {r['ops']} | {r['kernels']} | {number(r, 'default')} | {number(r, 'second')} | "
                     f"{number(r, 'opt0')} | {r['compile_s']:.1f} | {r['weights_bytes'] / 1e6:.1f} | "
                     f"{r['arena_bytes'] / 1e6:.2f} | {r.get('metric', '')} |")
    if LOOSE:
        lines += ["", "Tolerance 1e-4, but for:", ""]
        lines += [f"- {name}: {limit:.0e}: {reason}" for name, (limit, reason) in LOOSE.items()]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["small", "default", "full"], default="default")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--json")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep filled models in build/models")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    models = corpus.models("full" if options.only else options.set)
    if options.only:
        names = options.only.split(",")
        unknown = set(names) - {m.name for m in models}
        if unknown:
            parser.error(f"no model {', '.join(sorted(unknown))}")
        models = [m for m in models if m.name in names]
    if not os.path.isdir(corpus.SHARED):
        print("The model corpus is not there (see NNOPT_SHARED): real models are skipped, small made ones run.")

    results, failed = [], 0
    for model in models:
        start = time.time()
        try:
            result = run_model(model, options)
            note = " ".join(f"{k} {result[k]:.1e}" for k in ("default", "second", "opt0") if k in result)
            print(f"ok    {model.name}: {note} {result.get('metric', '')} compile {result['compile_s']:.1f} s, "
                  f"{time.time() - start:.0f} s in all", flush=True)
        except Exception as e:
            result = {"model": model.name, "failure": str(e) or repr(e)}
            failed += 1
            text = result["failure"].strip().splitlines()
            print(f"FAIL  {model.name}: " + "\n      ".join(text[:12]), flush=True)
            if not isinstance(e, (Failure, CompileError, RuntimeError)):
                traceback.print_exc()
        results.append(result)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    if options.write_docs:
        write_docs(results, options.set, os.path.join(ROOT, "docs", "models.md"))
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
