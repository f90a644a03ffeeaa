#!/usr/bin/env python3
"""Quality of trained models of which most weights are zero, beside known recipes.

    sparsity.py [--only=a,b] [--shares=70,80] [--write-docs] [--json=FILE] [--from=FILE,...]

Each model is compiled with --prune=sparse:SHARE% on its calibration data; nothing is trained. Quality is that of all
evaluation data, by the compiled artifact; the share of zeros is counted in the weights of the recipe. --write-docs writes
docs/sparse-accuracy.md. Ends with `N passed, N failed`: a row passes when its share is exact and its quality at least the anchor's,
less 0.3 points (perplexity: 2 %).
"""
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import tables
from corpus import SHARED
from nnopt import BUILD, ROOT

MODELS = ["resnet20", "repvgg", "mobilenetv2", "mobilenetv3", "vit", "lm"]
METRIC = {"lm": "perplexity"}
# Measured with torch 2.15 on the same models and data, no fine-tuning: one-shot global magnitude; SparseGPT, equal shares
# (+ re-estimation of batch normalization on CNNs); the best of OBS masks with kept weights refitted to the dense model.
ANCHORS = {
    "resnet20": {70: (67.15, 92.40, 92.95), 80: (24.35, 70.30, 92.25)},
    "repvgg": {70: (84.10, 92.35, 92.90), 80: (32.30, 90.60, 92.45)},
    "mobilenetv2": {70: (11.65, 83.50, 90.25), 80: (11.65, 34.30, 85.65)},
    "mobilenetv3": {70: (19.05, 78.30, 91.15), 80: (11.65, 38.50, 89.70)},
    "vit": {70: (76.35, 86.30, 87.50), 80: (53.50, 82.20, 86.35)},
    "lm": {70: (43.04, 26.88, 23.34), 80: (86.51, 49.36, None)},
}


def prepare(model, folder):
    trained = os.path.join(SHARED, "trained")
    path = os.path.join(trained, model + ".onnx")
    subprocess.run([sys.executable, "to_npz.py", path, folder], cwd=trained, check=True, capture_output=True)
    return path


def run_model(model, share):
    with tempfile.TemporaryDirectory() as folder:
        path = prepare(model, folder)
        recipe = os.path.join(folder, "recipe.json")
        start = time.time()
        done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), path, f"--prune=sparse:{share}%",
                               f"--calib={folder}/calib.npz", f"--eval={folder}/eval.npz", f"--metric={METRIC.get(model, 'top1')}",
                               "-o", os.path.join(folder, "ours.so"), f"--recipe-out={recipe}"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}\n{done.stderr}")
        notes, tensors = json.load(open(recipe)), np.load(recipe + ".npz")
        weights = [tensors[s["tensors"]["weights"]] for s in notes["steps"] if s["technique"] == "prune-sparse"]
        return {"model": model, "share": share, "float": notes["float"]["quality"], "sparse": notes["compressed"]["quality"],
                "zeros": sum(int((w == 0).sum()) for w in weights), "weights": sum(w.size for w in weights), "layers": len(weights),
                "refitted": len(notes["steps"]) - len(weights), "variants": notes.get("variants"),
                "seconds": round(time.time() - start)}


def compare(r):
    """How much better than the anchor: points, or for perplexity the relative decrease in percent; None without one."""
    anchor = ANCHORS.get(r["model"], {}).get(r["share"], (None,) * 3)[2]
    if anchor is None or "failure" in r:
        return None
    return 100 * (anchor - r["sparse"]) / anchor if METRIC.get(r["model"]) == "perplexity" else r["sparse"] - anchor


def holds(r):
    if "failure" in r or abs(r["zeros"] - r["share"] / 100 * r["weights"]) > 1:
        return False
    gain = compare(r)
    return gain is None or gain >= (-2 if METRIC.get(r["model"]) == "perplexity" else -0.3)


def write_docs(results, path):
    lines = ["# Accuracy with sparse weights", "",
             f"Written by `test/compress/sparsity.py --write-docs` ({datetime.date.today()}, {platform.machine()}): `--prune=sparse:SHARE%` of trained",
             "models, no fine-tuning, calibrated with 512 images (lm: 64 sequences of 128 tokens). Top-1 accuracy in % on 2,000 images of",
             "Fashion-MNIST, perplexity for lm (lower is better). One image is 0.05 points; the standard error of a difference is about",
             "0.3 points. Shares are those of zeros in all dense convolutions and matrix products except the first layer, the last, depthwise",
             "convolutions and squeeze-excitation; they are counted in the model that the exact passes leave (repvgg: branches merged).", "",
             "The anchors were measured with torch 2.15 on the same models and data: **magnitude**, one threshold for the whole model;",
             "**SparseGPT**, equal shares, for CNNs with batch normalization estimated anew; **OBS + refit**, the best on the evaluation data of",
             "several variants of OBS masks with the kept weights of each row solved anew against the dense model.", "",
             "| model | float | zeros | ours | magnitude | SparseGPT | OBS + refit | layers | shares |", "|---|---|---|---|---|---|---|---|---|"]
    text = lambda v: "" if v is None else f"{v:.2f}"
    for r in results:
        if "failure" in r:
            lines.append(f"| {r['model']} | | {r['share']} % | {r['failure'].splitlines()[0]} | | | | | |")
            continue
        magnitude, gpt, obs = ANCHORS.get(r["model"], {}).get(r["share"], (None,) * 3)
        best = min(r["variants"], key=lambda v: v["output_error"])["variant"] if r["variants"] else ""
        lines.append(f"| {r['model']} | {r['float']:.2f} | {100 * r['zeros'] / r['weights']:.2f} % | {r['sparse']:.2f} | {text(magnitude)} | {text(gpt)} | "
                     f"{text(obs)} | {r['layers']} | {best} |")
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")


def main():
    return tables.main(__doc__, MODELS, lambda parser: parser.add_argument("--shares", default="70,80"),
                       lambda options: [{"model": m, "share": int(s)} for m in options.only.split(",") for s in options.shares.split(",")],
                       run_model, holds,
                       lambda results, _: write_docs(results, os.path.join(ROOT, "docs", "sparse-accuracy.md")))


if __name__ == "__main__":
    sys.exit(main())
