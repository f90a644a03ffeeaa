#!/usr/bin/env python3
"""Budgets for all techniques beside each technique alone under the same limit, on trained models.

    budgets.py [--only=a,b] [--limits=latency=0.5x,...] [--write-docs] [--json=FILE] [--from=FILE,...]

--budget=latency=0.5x and --budget=size=0.25x, given alone, choose among all techniques, removal of channels among them. The same limit is
given with the flag of each technique by itself, in several strengths; for removed channels these are shares of the multiply-adds.
Quality is that of all evaluation data, by the compiled artifact; latency is that of one thread. --write-docs writes
the table in docs/compression.md, where rows of what did not run stay. Ends with `N passed, N failed`: a case passes when its limit is met and no single
technique that meets it is better by more than one standard error of a difference.
"""
import json
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import tables
from corpus import SHARED
from nnopt import BUILD, ROOT

MODELS = ["resnet20", "repvgg", "mobilenetv2", "mobilenetv3", "vgg_wide", "preact_resnet", "vit", "lm"]
LIMITS = ["latency=0.5x", "size=0.25x"]
TOKENS = ["vit", "lm"]  # most of their weights are in matrix products
# Strengths of techniques that may meet a limit by themselves.
SINGLES = {"latency=0.5x": ["--quantize=int8", "--prune=sparse:80%", "--prune=sparse:90%", "--low-rank=50%", "--low-rank=25%",
                            "--prune=structured:50%", "--prune=structured:60%"],
           "size=0.25x": ["--quantize=int8", "--prune=sparse:80%", "--prune=sparse:90%", "--low-rank=25%", "--prune=structured:75%"]}
OF_TOKENS = {"latency=0.5x": [], "size=0.25x": ["--quantize=w8", "--quantize=w4"]}
# Of the difference of two models on the same data: points on 2,000 images; share of the perplexity on 32,768 tokens.
ERROR, LANGUAGE_ERROR = 0.3, 0.005
BEGIN, END = "<!-- budgets.py: table -->", "<!-- budgets.py: end -->"


def compile(model, folder, *flags):
    """What the recipe says of the result, or None where the limit cannot be met."""
    recipe = os.path.join(folder, "recipe.json")
    metric = ["--metric=perplexity"] if model.endswith("lm.onnx") else []
    done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags, *metric, "-o", os.path.join(folder, "model.so"),
                           f"--recipe-out={recipe}", f"--calib={folder}/calib.npz", f"--eval={folder}/eval.npz"],
                          capture_output=True, text=True)
    if done.returncode == 1 and ("budget cannot be met" in done.stderr or "of the multiply-adds can go" in done.stderr):
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)}: exit {done.returncode}\n{done.stderr}")
    if not os.path.exists(recipe):  # the technique has nothing to do here
        return None
    return json.load(open(recipe))


def used(notes):
    """What was done: steps of each option."""
    counts = {}
    for step in notes["steps"]:
        name = step["technique"]
        if name == "quantize":
            name = step["option"]
        if name not in ("refit",) and not (name == "prune-structured" and step["option"] != "keep"):
            counts[name] = counts.get(name, 0) + 1
    return counts


def run_case(model, limit):
    folder_in = os.path.join(SHARED, "trained")
    path = os.path.join(folder_in, model + ".onnx")
    result = {"model": model, "limit": limit, "singles": {}}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "to_npz.py", path, folder], cwd=folder_in, check=True, capture_output=True)
        for flag in [None, *SINGLES[limit], *(OF_TOKENS[limit] if model in TOKENS else [])]:
            notes = compile(path, folder, f"--budget={limit}", *([flag] if flag else []))
            found = notes and {"quality": notes["compressed"]["quality"], "ms": notes["compressed"]["latency_ms"],
                               "bytes": notes["compressed"]["bytes"]}
            print(f"      {model} {limit} {flag or 'all techniques'}: {found}", flush=True)
            if flag:
                result["singles"][flag] = found
            elif notes is None:
                raise RuntimeError("the budget cannot be met")
            else:
                result.update(float=notes["float"], ours=found, used=used(notes), plans=notes.get("plans", []))
            if os.path.exists(os.path.join(folder, "recipe.json")):
                os.remove(os.path.join(folder, "recipe.json"))
    return result


def loss(r, quality):
    """Points that are lost; for perplexity the share by which it is higher."""
    return quality / r["float"]["quality"] - 1 if r["model"] == "lm" else r["float"]["quality"] - quality


def best_single(r):
    """(flag, what it gives) of the best technique alone that meets the limit, or None."""
    met = [(flag, found) for flag, found in r["singles"].items() if found]
    return min(met, key=lambda pair: loss(r, pair[1]["quality"])) if met else None


def holds(r):
    name, share = r["limit"].rstrip("x").split("=")
    key = {"latency": "ms", "size": "bytes"}[name]
    if r["ours"][key] > float(share) * r["float"][{"ms": "latency_ms", "bytes": "bytes"}[key]]:
        return False
    best, error = best_single(r), LANGUAGE_ERROR if r["model"] == "lm" else ERROR
    return best is None or loss(r, r["ours"]["quality"]) <= loss(r, best[1]["quality"]) + error


def row(r):
    if "failure" in r:
        return f"| {r['model']} | {r['limit']} | | {r['failure'].splitlines()[0]} | | | | | |"
    best, ours, before = best_single(r), r["ours"], r["float"]
    missed = ", ".join(f"`{flag}`" for flag, found in r["singles"].items() if not found)
    return (f"| {r['model']} | {r['limit']} | {before['quality']:.2f} | {ours['quality']:.2f} | "
            f"{before['latency_ms']:.3f} → {ours['ms']:.3f} | {before['bytes'] / 1e3:.0f} → {ours['bytes'] / 1e3:.0f} | "
            f"{', '.join(f'{n} {name}' for name, n in r['used'].items())} | "
            + (f"{best[1]['quality']:.2f} `{best[0]}`" if best else "none") + f" | {missed} |")


def table(rows):
    return "\n".join([
        BEGIN, "", "What that comes to, beside each technique alone under the same limit:", "",
        f"Written by `test/compress/budgets.py --write-docs` ({platform.machine()}): accuracy in % on 2,000 images (perplexity of",
        "`lm`), 512 calibration images (64 sequences), no training; milliseconds of one thread at batch 1. The standard error of a",
        "difference is about 0.3 points.", "",
        "| model | limit | float | with all techniques | latency, ms | size, KB | steps | best technique alone | alone, not within the limit |",
        "|---|---|---|---|---|---|---|---|---|", *rows, "", END])


def write_docs(results, options):
    page = "compression.md"
    text = open(os.path.join(ROOT, "docs", page)).read()
    rows = {}
    for line in text[text.index(BEGIN):text.index(END)].splitlines():
        model, limit = [cell.strip() for cell in (line + "||").split("|")[1:3]]
        if model in MODELS:
            rows[model, limit] = line
    rows.update(((r["model"], r["limit"]), row(r)) for r in results)
    ordered = sorted(rows, key=lambda case: (MODELS.index(case[0]), LIMITS.index(case[1])))
    tables.write_part(page, BEGIN, END, table([rows[case] for case in ordered]))


def main():
    return tables.main(__doc__, MODELS, lambda parser: parser.add_argument("--limits", default=",".join(LIMITS)),
                       lambda options: [{"model": m, "limit": l} for m in options.only.split(",") for l in options.limits.split(",")],
                       run_case, holds, write_docs)


if __name__ == "__main__":
    sys.exit(main())
