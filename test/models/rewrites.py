#!/usr/bin/env python3
"""Counts what the default pipeline makes of real models, and holds the counts against docs/rewrites.md.

    rewrites.py [--set=default|full] [--only=a,b] [--write-docs]

For each model: nodes in the file, nn operations after import (--opt=0) and after the passes, kernel launches in
the program, and operations by kind. Nothing is run, and no weight is filled: skeletons get a file of random
numbers in [0.5, 1.5), in which every tensor starts at another place, so that the counts do not depend on values.
A count that differs from the table in either direction is a failure; --write-docs (with --set=full) writes the
table anew.
"""
import argparse
import os
import re
import subprocess
import sys
from collections import Counter

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")]
import numpy as np
import onnx

import corpus
from nnopt import ROOT, tool

TABLE = os.path.join(ROOT, "docs", "rewrites.md")
FOLDER = os.path.join(corpus.CACHE, "rewrites")
# Models with the constructs that passes are about, cheap to compile.
DEFAULT = ["bert_base", "distilbert_cls", "vit_base", "deit_tiny", "swin_tiny", "gpt2", "llama_small", "moe_decoder_dense",
           "whisper_tiny_encoder", "relu_ffn_encoder", "vit", "lm", "lm_cache", "moe_lm", "relu_transformer",
           "convnext_tiny", "resnet50", "resnetv2_50", "repvgg_a0", "acb_dbb_net", "mobilenetv3_small", "googlenet",
           "mamba2_small", "ch_ppocr_mobile_v2.0_cls_infer"]
KINDS = {"conv": "convs", "matmul": "matmuls", "attention": "attentions", "layer_norm": "layer norms",
         "rms_norm": "RMS norms", "batch_norm": "batch norms", "softmax": "softmaxes", "transpose": "transposes",
         "concat": "concats", "map": "maps"}
COLUMNS = ["ONNX nodes", "imported", "optimized", "kernels", *KINDS.values()]


def make_skeleton(model):
    """A copy of a skeleton whose weights all lie in one file of random numbers."""
    proto = onnx.load(os.path.join(corpus.SHARED, "skeletons", model.name + ".onnx"), load_external_data=False)
    size = 0
    for i, tensor in enumerate(t for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL):
        entries = {e.key: e for e in tensor.external_data}
        entries["location"].value, entries["offset"].value = "weights", str(64 * i)
        size = max(size, 64 * i + int(entries["length"].value))
    weights = os.path.join(FOLDER, "weights")
    if not os.path.exists(weights) or os.path.getsize(weights) < size:
        # Of an odd length: where it began again with a row, a matrix would be of low rank, which a pass sees.
        tile = np.random.default_rng(0).uniform(0.5, 1.5, (1 << 18) + 1).astype(np.float32).tobytes()
        with open(weights + ".new", "wb") as f:
            while f.tell() < size:
                f.write(tile)
        os.replace(weights + ".new", weights)
    path = os.path.join(FOLDER, model.name + ".onnx")
    onnx.save(proto, path)
    return path, proto


def emit(path, what, opt):
    command = [tool("nnopt-compile"), path, f"--emit={what}", f"--opt={opt}", "-o", os.path.join(FOLDER, "out." + what)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.strip()}")
    with open(os.path.join(FOLDER, "out." + what)) as f:
        return f.read()


def operations(text):
    """Operations of the nn dialect by name, those of regions too; constants and region ends left out."""
    found = Counter(re.findall(r'^\s*(?:%[\w:, %]+ = )?"?nn\.(\w+)', text, re.M))
    for name in ("constant", "yield"):
        found.pop(name, None)
    return found


def count(model):
    if model.kind == "skeleton":
        path, proto = make_skeleton(model)
    else:
        model.prepare()
        path, proto = model.path, model.proto
    after = operations(emit(path, "nn", 2))
    launches = len(re.findall(r"^\s*\d+: launch ", emit(path, "exec", 2), re.M))
    nodes = sum(n.op_type != "Constant" for n in proto.graph.node)
    return [nodes, operations(emit(path, "nn", 0)).total(), after.total(), launches, *(after[k] for k in KINDS)]


def read_table():
    rows = {}
    if not os.path.exists(TABLE):
        return rows
    with open(TABLE) as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) == len(COLUMNS) + 1 and cells[1].isdigit():
                rows[cells[0]] = [int(c or 0) for c in cells[1:]]
    return rows


def write_table(rows):
    lines = ["# What the passes make of models", "",
             "Written by `test/models/rewrites.py --set=full --write-docs`; the same script tests the counts. Nodes of the file",
             "(subgraphs and constants left out), operations of the `nn` dialect after import and after the default passes",
             "(constants left out, regions counted), kernel launches in the program, and optimized operations by kind. Many of",
             "the transposes that are left cost nothing: kernels read and write through them.", "",
             "| model | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, counts in sorted(rows.items()):
        cells = [str(c) if c or i < 4 else "" for i, c in enumerate(counts)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    with open(TABLE, "w") as f:
        f.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["default", "full"], default="default")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    if not os.path.isdir(corpus.SHARED):
        print("The model corpus is not there (see NNOPT_SHARED): there are no counts to check.")
        print("0 passed, 0 failed")
        return 0
    os.makedirs(FOLDER, exist_ok=True)
    models = corpus.models("full")
    wanted = options.only.split(",") if options.only else [m.name for m in models] if options.set == "full" else DEFAULT
    if unknown := set(wanted) - {m.name for m in models}:
        parser.error(f"no model {', '.join(sorted(unknown))}")
    golden = {} if options.write_docs else read_table()
    rows, failed = {}, 0
    for model in models:
        if model.name not in wanted:
            continue
        try:
            rows[model.name] = counts = count(model)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAIL  {model.name}: {error}", flush=True)
            continue
        if options.write_docs:
            continue
        if model.name not in golden:
            failed += 1
            print(f"FAIL  {model.name}: it is not in docs/rewrites.md", flush=True)
            continue
        differences = [f"{c} {have}, the table has {want}" for c, have, want in zip(COLUMNS, counts, golden[model.name])
                       if have != want]
        failed += bool(differences)
        if differences:
            print(f"FAIL  {model.name}: {'; '.join(differences)}", flush=True)
    if not options.write_docs and options.set == "full" and not options.only:
        for name in sorted(set(golden) - set(rows)):
            failed += 1
            print(f"FAIL  {name}: it is in docs/rewrites.md, but was not counted")
    if options.write_docs and not failed:
        write_table({**(read_table() if options.only else {}), **rows})
    if failed:
        print("After a change that is meant: test/models/rewrites.py --set=full --write-docs")
    print(f"{len(wanted) - min(failed, len(wanted))} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
