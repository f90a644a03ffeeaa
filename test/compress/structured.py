#!/usr/bin/env python3
"""Trained models with fewer channels: quality, multiply-adds, parameters and latency before and after.

    structured.py [--only=a,b] [--criteria] [--write-docs] [--json=FILE] [--from=FILE,...]

Each model loses a share of its multiply-adds by --prune=structured:SHARE% with its calibration data; nothing is trained.
Quality is that of all evaluation data, by the compiled artifact. Latency is that of one thread at batch 1, the
least of many runs of the dense and the pruned model in turn. --criteria tries every criterion on each case in place of the
default one alone. --write-docs writes the table in docs/compression.md. Ends with `N passed, N failed`: a case with a limit
passes when its multiply-adds are gone, no more points are lost than that, and latency falls by 0.8 of what multiply-adds
do at least.
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
from nnopt import BUILD

# Model, share of the multiply-adds to go in percent, points of accuracy that it may lose (None: shown only).
CASES = [("vgg_wide", 50, 2.0), ("repvgg", 25, 2.0), ("resnet20", 25, 2.0), ("vit", 33, 1.5), ("mobilenetv2", 25, None)]
# Group L1 of torch_pruning with batch normalizations estimated anew: share of the multiply-adds that goes, accuracy.
ANCHORS = {"repvgg": (43, 65.90), "resnet20": (44, 76.05), "mobilenetv2": (40, 78.90), "vit": (33, 86.50)}
CRITERIA = ["reconstruction", "fluctuation", "wanda", "l1", "l2", "geometric-median", "merge"]
BEGIN, END = "<!-- structured.py: table -->", "<!-- structured.py: end -->"


def run_case(model, share, criterion):
    folder_in = os.path.join(SHARED, "trained")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder_in, model + ".onnx")
        subprocess.run([sys.executable, "to_npz.py", path, folder], cwd=folder_in, check=True, capture_output=True)
        recipe = os.path.join(folder, "recipe.json")
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), path, f"--prune=structured:{share}%,criterion={criterion}",
                               f"--calib={folder}/calib.npz", f"--eval={folder}/eval.npz", "-o", os.path.join(folder, "model.so"),
                               f"--recipe-out={recipe}"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}\n{done.stderr}")
        notes = json.load(open(recipe))
    structured = notes["structured"]
    groups = structured["groups"]
    return {"model": model, "share": share, "criterion": criterion, "float": notes["float"], "compressed": notes["compressed"],
            "multiply_adds": structured["multiply_adds"], "parameters": structured["parameters"],
            "groups": [sum(g["kept"] < g["units"] for g in groups), len(groups)]}


def saving(before, after):
    return 1 - after / before


def holds(r):
    limit = next((limit for model, share, limit in CASES if (model, share) == (r["model"], r["share"])), None)
    if limit is None or r["criterion"] != CRITERIA[0]:
        return True
    gone = saving(r["multiply_adds"]["float"], r["multiply_adds"]["compressed"])
    return (gone >= r["share"] / 100 and r["compressed"]["quality"] >= r["float"]["quality"] - limit and
            saving(r["float"]["latency_ms"], r["compressed"]["latency_ms"]) >= 0.8 * gone)


def change(before, after, form):
    return f"{form(before)} → {form(after)} (−{100 * saving(before, after):.0f} %)"


def table(results):
    lines = [BEGIN, "", f"Written by `test/compress/structured.py --write-docs` ({platform.machine()}): accuracy in % on 2,000 images, 512",
             "calibration images, no training (the standard error of a difference is about 0.3 points); milliseconds of one thread at",
             "batch 1. Beside it group L1 of torch_pruning, with batch normalizations estimated anew, for the share of the multiply-adds in brackets.", "",
             "| model | float | pruned | multiply-adds | latency, ms | parameters | groups that got smaller | group L1 |", "|---|---|---|---|---|---|---|---|"]
    millions = lambda v: f"{v / 1e6:.2f} M"
    for r in results:
        if "failure" in r:
            lines.append(f"| {r['model']} | | {r['failure'].splitlines()[0]} | | | | | |")
        elif r["criterion"] == CRITERIA[0]:
            before, after = r["float"], r["compressed"]
            anchor = ANCHORS.get(r["model"])
            lines.append(f"| {r['model']} | {before['quality']:.2f} | {after['quality']:.2f} | "
                         f"{change(r['multiply_adds']['float'], r['multiply_adds']['compressed'], millions)} | "
                         f"{change(before['latency_ms'], after['latency_ms'], lambda v: f'{v:.3f}')} | "
                         f"{change(r['parameters']['float'], r['parameters']['compressed'], millions)} | "
                         f"{r['groups'][0]} of {r['groups'][1]} | " + (f"{anchor[1]:.2f} (−{anchor[0]} %) |" if anchor else " |"))
    others = [r for r in results if "failure" not in r and r["criterion"] != CRITERIA[0]]
    tried = list(dict.fromkeys((r["model"], r["share"]) for r in others))
    if tried:
        lines += ["", "Accuracy by the criterion for which units go; all else is the same:", "",
                  "| model | multiply-adds | " + " | ".join(CRITERIA) + " |", "|---|---|" + "---|" * len(CRITERIA)]
        for model, share in tried:
            found = {r["criterion"]: r["compressed"]["quality"] for r in results if "failure" not in r and (r["model"], r["share"]) == (model, share)}
            lines.append(f"| {model} | −{share} % | " + " | ".join(f"{found[c]:.2f}" if c in found else "" for c in CRITERIA) + " |")
    return "\n".join([*lines, "", END])


def write_docs(results, options):
    tables.write_part("compression.md", BEGIN, END, table(results))


def cases(options):
    return [{"model": m, "share": s, "criterion": c} for m, s, limit in CASES if m in options.only.split(",")
            for c in (CRITERIA if options.criteria and limit else CRITERIA[:1])]


def main():
    return tables.main(__doc__, [m for m, _, _ in CASES], lambda parser: parser.add_argument("--criteria", action="store_true"),
                       cases, run_case, holds, write_docs)


if __name__ == "__main__":
    sys.exit(main())
