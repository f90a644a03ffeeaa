#!/usr/bin/env python3
"""Quality of trained models in stages of low rank, and where the engine refuses them.

    low_rank.py [--only=a,b] [--share=50%] [--write-docs] [--json=FILE] [--from=FILE,...]

Ours: --low-rank=SHARE,error=1000%, all layers that it applies to; --low-rank=SHARE, which refuses layers that spoil the outputs; and that
within --budget=drop=0.5%, which keeps the layers that are measured faster. Beside it stand one-shot singular value decompositions of the same layers at half
of the parameters, the better of plain and whitened, with batch normalizations estimated again (in PyTorch, with the same data). --write-docs writes the table in
docs/compression.md. Ends with `N passed, N failed`: a model passes when it is better than that and the budget holds.
"""
import json
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "models")]
import numpy as np
import tables
from corpus import SHARED
from nnopt import BUILD

# The better of plain and whitened SVD at half of the parameters of all convolutions and products but for the first, the last, depthwise ones and
# squeeze-excitation: accuracy in %, perplexity of lm.
ANCHORS = {"resnet20": 82.40, "repvgg": 88.20, "mobilenetv2": 88.10, "mobilenetv3": 88.80, "vit": 87.50, "lm": 58.26}
LANGUAGE = ["lm"]
BEGIN, END = "<!-- low_rank.py: table -->", "<!-- low_rank.py: end -->"


def compile(model, folder, *flags):
    """The recipe's notes and arrays; None and none where nothing was done to the model."""
    recipe = os.path.join(folder, "recipe.json")
    done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags, "-o", os.path.join(folder, "model.so"),
                           f"--recipe-out={recipe}", f"--calib={folder}/calib.npz", f"--eval={folder}/eval.npz"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)}: exit {done.returncode}\n{done.stderr}")
    notes = json.load(open(recipe))
    return notes, np.load(recipe + ".npz") if os.path.exists(recipe + ".npz") else {}


def replaced(notes):
    """The steps that put stages in the place of a layer, and their numbers."""
    return [(i, step) for i, step in enumerate(notes["steps"]) if step["technique"] == "low-rank"]


def parameters(notes, tensors):
    """Of the layers that were replaced: before and after."""
    before = after = 0
    for i, step in replaced(notes):
        stages = [tensors[f"{i}/stage{k}"] for k in range(len(step["tensors"]) - 1)]
        ranks, out = step["parameters"]["ranks"], stages[-1].shape[0]
        after += sum(s.size for s in stages)
        if step["parameters"]["structure"] == "tucker":
            narrows = stages[0].shape[0] == ranks[0] and len(stages) > 1 and stages[1].shape[1] % ranks[0] == 0
            inputs = stages[0].shape[1] if narrows else ranks[0]
            before += inputs * stages[1 if narrows else 0].shape[1] // ranks[0] * out
        else:
            before += stages[0].shape[1] * out * stages[1].shape[1] // ranks[0]
    return before, after


def run_model(name, share):
    folder_in = os.path.join(SHARED, "trained")
    model = os.path.join(folder_in, name + ".onnx")
    result = {"model": name, "anchor": ANCHORS.get(name)}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "to_npz.py", model, folder], cwd=folder_in, check=True, capture_output=True)
        metric = ["--metric=perplexity"] if name in LANGUAGE else []
        notes, tensors = compile(model, folder, f"--low-rank={share},error=1000%", *metric)
        before, after = parameters(notes, tensors)
        result.update(float=notes["float"]["quality"], quality=notes["compressed"]["quality"], share=after / before,
                      changes=notes["output_error"] ** 0.5, repair=notes.get("repair"))
        structures = [step["parameters"]["structure"] for _, step in replaced(notes)]
        result["structures"] = {s: structures.count(s) for s in sorted(set(structures))}
        notes, _ = compile(model, folder, f"--low-rank={share}", *metric)
        result.update(default=notes["compressed"]["quality"], default_layers=len(replaced(notes)))
        notes, _ = compile(model, folder, f"--low-rank={share}", "--budget=drop=0.5%", *metric)
        result.update(budget=notes["compressed"]["quality"], budget_layers=len(replaced(notes)))
    return result


def holds(r):
    if r["model"] in LANGUAGE:  # perplexity
        return r["quality"] < r["anchor"] and r["budget"] <= 1.005 * r["float"] and r["default_layers"] < sum(r["structures"].values())
    return r["quality"] > r["anchor"] and r["budget"] >= r["float"] - 0.5


def table(results, share):
    lines = [BEGIN, "", f"Written by `test/compress/low_rank.py --write-docs` ({platform.machine()}): accuracy in % on 2,000 images (perplexity",
             f"of `lm`), `--low-rank={share}` with 512 calibration images (64 sequences), no training.", "",
             "| model | float | SVD anchor | all layers | layers | their parameters | outputs change by | without layers that spoil the outputs | "
             "within a drop of 0.5, where faster |",
             "|---|---|---|---|---|---|---|---|---|"]
    for r in results:
        if "failure" in r:
            lines.append(f"| {r['model']} | {r['failure'].splitlines()[0]} | | | | | | | |")
            continue
        kinds = ", ".join(f"{n} {s}" for s, n in r["structures"].items())
        lines.append(f"| {r['model']} | {r['float']:.2f} | {r['anchor']:.2f} | {r['quality']:.2f} | {kinds} | {100 * r['share']:.0f} % | "
                     f"{100 * r['changes']:.1f} % | {r['default_layers']} layers: {r['default']:.2f} | {r['budget_layers']} layers: {r['budget']:.2f} |")
    return "\n".join([*lines, "", END])


def write_docs(results, options):
    tables.write_part("compression.md", BEGIN, END, table(results, options.share))


def main():
    return tables.main(__doc__, ANCHORS, lambda parser: parser.add_argument("--share", default="50%"),
                       lambda options: [{"model": m, "share": options.share} for m in options.only.split(",")],
                       lambda model, share: run_model(model, share), holds, write_docs)


if __name__ == "__main__":
    sys.exit(main())
