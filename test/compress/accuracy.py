#!/usr/bin/env python3
"""Quality of quantized trained models, beside onnxruntime's quantizers and nncf on the same calibration data.

    accuracy.py [--only=a,b] [--budget=drop=0.5%] [--write-docs] [--json=FILE] [--from=FILE,...]

Ours: --quantize=int8, all eligible layers; and --budget, which leaves layers alone. onnxruntime: quant_pre_process, then
quantize_static in QDQ form, per-channel i8 weights, u8 activations, calibrated by MinMax. nncf: its defaults for the kind of
model, run by openvino; left out where one of them is not installed. Quality is that of all evaluation data; all models are
evaluated by the same code. --write-docs writes docs/quantization.md.
The language model: perplexity of int8 and of weights in 8 and 4 bits, alone and with rows of 8 bits, beside onnxruntime's dynamic quantization and its
MatMulNBitsQuantizer. --write-docs keeps the section of what did not run.
Ends with `N passed, N failed`: a model passes when int8 or the budget loses no more than 0.5 points; the language model when
each perplexity is within the share that LANGUAGE says of the float model's.
"""
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", folder) for folder in ("support", "models", "bench")]
import numpy as np
import onnx
import onnxruntime

import quantized
import tables
from corpus import SHARED
from nnopt import BUILD, ROOT, Session, reference_session

MODELS = ["resnet20", "repvgg", "mobilenetv2", "mobilenetv3", "vit"]
BATCH = 64
# What --quantize says, and how much the perplexity may grow.
LANGUAGE = {"int8": 0.005, "w8": 0.002, "w4": 0.01, "w4,rank=16": 0.01, "w8a8": 0.005, "w4a8": 0.01}


class Judge:
    """Top-1 accuracy on evaluation data, and how far outputs are from the float model's: |a - b| / |b|."""

    def __init__(self, model, name, data):
        self.name, self.x, self.labels = name, data[name], data["labels"]
        self.reference = self.outputs(reference_session(model))

    def outputs(self, session):
        return np.concatenate([session.run(None, {self.name: self.x[i:i + BATCH]})[0] for i in range(0, len(self.x), BATCH)])

    def top1(self, outputs):
        return 100.0 * float((outputs.argmax(1) == self.labels).mean())

    def of(self, session):
        """(accuracy in %, error)"""
        outputs = self.outputs(session)
        return self.top1(outputs), float(np.linalg.norm(outputs - self.reference) / np.linalg.norm(self.reference))


class OpenVino:
    """A compiled model with the method of an onnxruntime session that is used here."""

    def __init__(self, graph):
        import openvino
        self.model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(self, _, feeds):
        return [self.model(feeds)[0]]


def compile(model, folder, *flags):
    artifact, recipe = os.path.join(folder, "ours.so"), os.path.join(folder, "ours.json")
    done = subprocess.run([os.path.join(BUILD, "bin", "nnopt-compile"), model, *flags, "-o", artifact, f"--recipe-out={recipe}"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)}: exit {done.returncode}\n{done.stderr}")
    return artifact, json.load(open(recipe))


def perplexity(session, data, batch=32):
    """exp of the mean negative log-likelihood of the labels."""
    ids, labels, total = data["ids"], data["labels"], 0.0
    for i in range(0, len(ids), batch):
        logits = session.run(None, {"ids": ids[i:i + batch]})[0].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= np.take_along_axis(logits, labels[i:i + batch, :, None].astype(np.int64), -1).sum()
    return float(np.exp(total / labels.size))


def run_language(model_name):
    """Perplexities and bytes of weights; of onnxruntime: bytes of the model's file."""
    from onnxruntime.quantization import QuantType, matmul_nbits_quantizer, quantize_dynamic
    folder_in = os.path.join(SHARED, "trained")
    model = os.path.join(folder_in, model_name + ".onnx")
    result = {"model": model_name, "language": True, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "to_npz.py", model, folder], cwd=folder_in, check=True, capture_output=True)
        data = dict(np.load(os.path.join(folder, "eval.npz")))
        reference = reference_session(model)
        result["float"] = perplexity(reference, data)
        for spec in LANGUAGE:
            artifact, _ = compile(model, folder, f"--quantize={spec}", f"--calib={folder}/calib.npz")
            with Session(artifact, 1) as session:
                value = perplexity(session, data)
                result["rows"].append([f"--quantize={spec}", value, session.memory().weights])
        theirs = os.path.join(folder, "theirs.onnx")
        quantize_dynamic(model, theirs, per_channel=True, weight_type=QuantType.QInt8)
        result["rows"].append(["onnxruntime, dynamic int8", perplexity(reference_session(theirs), data), os.path.getsize(theirs)])
        for bits in (8, 4):
            quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(model), block_size=32, is_symmetric=True, bits=bits)
            quantizer.process()
            onnx.save(quantizer.model.model, theirs)
            result["rows"].append([f"onnxruntime, MatMulNBits of {bits} bits", perplexity(reference_session(theirs), data),
                                   os.path.getsize(theirs)])
    return result


def run_model(model_name, budget):
    folder_in = os.path.join(SHARED, "trained")
    model = os.path.join(folder_in, model_name + ".onnx")
    result = {"model": model_name}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "to_npz.py", model, folder], cwd=folder_in, check=True, capture_output=True)
        data, calib = (dict(np.load(os.path.join(folder, f))) for f in ("eval.npz", "calib.npz"))
        name = next(iter(calib))
        judge = Judge(model, name, data)
        result["float"] = judge.top1(judge.reference)
        feeds = [{name: calib[name][i:i + BATCH]} for i in range(0, len(calib[name]), BATCH)]
        result["onnxruntime"] = judge.of(reference_session(quantized.static_qdq(model, feeds, folder)))
        try:
            result["nncf"] = judge.of(OpenVino(quantized.nncf_int8(model, feeds, model_name == "vit")))
        except ImportError:
            pass
        files = [f"--calib={folder}/calib.npz"]
        artifact, notes = compile(model, folder, "--quantize=int8", *files)
        with Session(artifact, 1) as session:
            result["int8"] = judge.of(session)
        result["layers"] = [len(notes["steps"]), len(notes["layers"]) + len(notes.get("refused", []))]
        if budget:
            artifact, notes = compile(model, folder, f"--budget={budget}", *files, f"--eval={folder}/eval.npz")
            with Session(artifact, 1) as session:
                result["budget"] = judge.of(session)
            result["budget_layers"] = len(notes["steps"])
    return result


def holds(r):
    if r.get("language"):
        ours = {name: value for name, value, _ in r["rows"]}
        return all(ours[f"--quantize={spec}"] <= r["float"] * (1 + share) for spec, share in LANGUAGE.items())
    return "failure" not in r and max(r["int8"][0], r.get("budget", [0])[0]) >= r["float"] - 0.5


def language_lines(r):
    lines = ["## Language model", "",
             f"Written by `test/compress/accuracy.py --only={r['model']} --write-docs` ({datetime.date.today()}, {platform.machine()},",
             f"onnxruntime {onnxruntime.__version__}): perplexity on 256 sequences of 128 tokens, calibrated with 64 others. int8: all matrix",
             "products on integers, weights and activations; w8, w4: weights and embedding alone, of 4 bits in groups of 32; w8a8, w4a8:",
             "rows of 8 bits besides. onnxruntime's 4-bit weights are rounded to the nearest, its embedding stays in floats in all rows, as",
             "ours does for int8. Its bytes are those of the model's file, ours those of the artifact's weights.", "", "| | perplexity | bytes |", "|---|---|---|", f"| float | {r['float']:.2f} | |"]
    return lines + [f"| `{name}` | {value:.2f} | {size:,} |" if name[0] == "-" else f"| {name} | {value:.2f} | {size:,} |"
                    for name, value, size in r["rows"]]


def write_docs(results, budget, path):
    """The images' part, the language model's section, and sections that others write after it; what did not run stays."""
    images, language, *others = re.split(r"(?m)^(?=## )", open(path).read())
    for r in results:
        if r.get("language"):
            language = "\n".join(language_lines(r)) + "\n\n"
    pictures = [r for r in results if not r.get("language")]
    if pictures:
        images = "\n".join(image_lines(pictures, budget)) + "\n\n"
    with open(path, "w") as f:
        f.write("".join([images, language, *others]))


def cell(judged):
    return f"{judged[0]:.2f} ({judged[1]:.3f})"


def image_lines(results, budget):
    """The columns of a budget only where there was one."""
    lines = ["# Quantization", "",
             f"Written by `test/compress/accuracy.py --write-docs` ({datetime.date.today()}, {platform.machine()}, onnxruntime",
             f"{onnxruntime.__version__}): top-1 accuracy in % on 2,000 images of Fashion-MNIST, of trained models calibrated with 512 others.",
             "One image is 0.05 points; the standard error of a difference is about 0.3 points. In brackets the error of the outputs,",
             "|a - b| / |b| against the float model, which chance disturbs less.", "",
             "- **int8**: `--quantize=int8`, all eligible layers: convolutions, matrix products with constant weights, residual sums of",
             "  convolutions, weights solved anew on the calibration images; attention multiplies bf16.",
             *([f"- **{budget}**: `--budget={budget}`, which chooses among all techniques, and floats where the budget or the clock says so; the",
                "  evaluation images that it validates on are those of the table. Steps: those of its recipe, layers solved anew beside others, too."]
               if budget else []),
             "- **onnxruntime**: `quant_pre_process` and `quantize_static`: QDQ, per-channel i8 weights, u8 activations, MinMax, same images.",
             "- **nncf**: its defaults for the kind of model, same images, run by openvino; empty where it was not installed.", "",
             f"| model | float | int8 | layers int8 |{f' {budget} | steps |' if budget else ''} onnxruntime int8 | nncf int8 |",
             "|---" * (8 if budget else 6) + "|"]
    for r in results:
        if "failure" in r:
            lines.append(f"| {r['model']} | {r['failure'].splitlines()[0]} | | | | |{' | |' if budget else ''}")
            continue
        held = f" {cell(r['budget'])} | {r['budget_layers']} |" if "budget" in r else " | |" if budget else ""
        lines.append(f"| {r['model']} | {r['float']:.2f} | {cell(r['int8'])} | {r['layers'][0]} of {r['layers'][1]} |{held} "
                     f"{cell(r['onnxruntime'])} | " + (f"{cell(r['nncf'])} |" if "nncf" in r else "|"))
    return lines


def main():
    return tables.main(__doc__, MODELS + ["lm"],
                       lambda parser: parser.add_argument("--budget", default="drop=0.5%", help="empty: only --quantize=int8"),
                       lambda options: [{"model": m, "budget": options.budget} for m in options.only.split(",")],
                       lambda model, budget: run_language(model) if model == "lm" else run_model(model, budget), holds,
                       lambda results, options: write_docs(results, options.budget, os.path.join(ROOT, "docs", "quantization.md")))


if __name__ == "__main__":
    sys.exit(main())
