#!/usr/bin/env python3
"""What is left of re-parameterizable networks, and what is recognized in transformers: operations, counted.

    counts.py [NAME...]

Each network of the table is filled with weights, and the graph that `nnopt-compile --emit=nn` prints must have
exactly the operations that its merged form has. The passes that rewrite weights must find nothing to do when they
run a second time (passes/Pipeline.cpp says why they end). Of transformers, every attention, normalization and
activation must be one operation after raise-patterns, whatever its exporter wrote. Needs the shared models ($NNOPT_SHARED); without them
nothing is counted. Ends with `N passed, N failed`.
"""
import collections
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models"))
import corpus  # noqa: E402
import nnopt  # noqa: E402
import rewrites  # noqa: E402

# Operations that must be left, by name. "map" are fused elementwise kernels.
EXPECTED = {
    # 22 blocks, each of which was 3x3 + 1x1 (+ normalization of the input).
    "repvgg_a0": {"conv": 22, "matmul": 1, "batch_norm": 0, "map": 0, "add": 0, "mul": 0},
    "repvgg_a0_exporter_folded": {"conv": 22, "matmul": 1, "batch_norm": 0, "map": 0, "add": 0, "mul": 0},
    # The stem and 21 pairs of depthwise and 1x1.
    "mobileone_s0": {"conv": 43, "matmul": 1, "batch_norm": 0, "map": 0, "add": 0, "mul": 0},
    # The stem and one for each of 6 blocks.
    "acb_dbb_net": {"conv": 7, "matmul": 1, "batch_norm": 0, "avg_pool": 0, "pad": 0, "map": 0},
    # One depthwise for each of 5 blocks (4 to 6 branches), 2 of the stem, 2 that reduce the size, 10 of squeeze and
    # excitation.
    "unireplk_net": {"conv": 19, "batch_norm": 0},
    # Normalizations fold forwards over padding too. Those of a sum with a skip beside them are the second result of
    # the convolution before.
    "preact_bn_pad": {"conv": 15, "batch_norm": 0, "add": 0, "mul": 0, "map": 0},
    "resnetv2_50": {"conv": 54, "batch_norm": 0, "add": 0, "mul": 0, "map": 0},
    "ch_ppocr_mobile_v2.0_cls_infer": {"batch_norm": 0},
}
# Operations that must be there after raise-patterns; of what they are made of nothing may be left.
RECOGNIZED = {
    "bert_base": {"attention": 12, "layer_norm": 25, "gelu": 12},
    "distilbert_cls": {"attention": 6, "layer_norm": 13, "gelu": 6},
    "vit_base": {"attention": 12, "layer_norm": 25, "gelu": 12},
    "deit_tiny": {"attention": 12, "layer_norm": 25, "gelu": 12},
    "swin_tiny": {"attention": 12, "layer_norm": 29, "gelu": 12},
    "gpt2": {"attention": 12, "layer_norm": 25, "gelu": 12},
    "llama_small": {"attention": 6, "rms_norm": 13, "silu": 6, "rotary": 12},
    "whisper_tiny_encoder": {"attention": 4, "layer_norm": 9, "gelu": 6},
    "convnext_tiny": {"layer_norm": 23, "gelu": 18},
    "moe_decoder": {"attention": 4, "rms_norm": 9, "rotary": 8},
    "moe_decoder_dense": {"attention": 4, "rms_norm": 9, "rotary": 8},
}
PARTS = ("erf", "sqrt", "pow")

BEFORE = "fold-shapes,canonicalize,cse,cleanup-transposes,fold-constants,raise-patterns"
WEIGHTS = "fold-batch-norm,merge-parallel-convs,merge-sequential-linear,fold-linear-bias"


def operations(command):
    """What a tool prints, as the number of operations by name."""
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return collections.Counter(re.findall(r"= nn\.(\w+)", text))


def counts_of(name):
    """Operations of the optimized graph, and whether a second run of the passes leaves them."""
    complete = name in corpus.COMPLETE
    model = corpus.Model(name, "complete" if complete else "skeleton")
    model.prepare()
    try:
        once, twice = [operations([nnopt.tool("nnopt-opt"), model.path, "--mlir-elide-resource-strings-if-larger=10",
                                   f"--pass-pipeline=builtin.module(func.func({','.join([BEFORE] + [WEIGHTS] * n)}))"])
                       for n in (1, 2)]
        for counts in (once, twice):
            del counts["constant"]  # Those that nobody reads any more.
        return operations([nnopt.tool("nnopt-compile"), model.path, "--emit=nn"]), once == twice
    finally:
        model.discard()


def recognized_in(name):
    """Operations after raise-patterns."""
    os.makedirs(rewrites.FOLDER, exist_ok=True)
    path, _ = rewrites.make_skeleton(corpus.Model(name, "skeleton"))
    return operations([nnopt.tool("nnopt-opt"), path, "--mlir-elide-resource-strings-if-larger=10",
                       f"--pass-pipeline=builtin.module(func.func({BEFORE}))"])


def main():
    if not os.path.isdir(corpus.SHARED):
        print(f"no models in {corpus.SHARED}\n0 passed, 0 failed")
        return 0
    passed = failed = 0
    for name in sys.argv[1:] or [*EXPECTED, *RECOGNIZED]:
        if name in RECOGNIZED:
            counts, is_fixed = recognized_in(name), True
            expected = {**RECOGNIZED[name], **dict.fromkeys(PARTS, 0)}
        else:
            counts, is_fixed = counts_of(name)
            expected = EXPECTED[name]
        wrong = [f"{counts[op]} {op} instead of {n}" for op, n in expected.items() if counts[op] != n]
        wrong += [] if is_fixed else ["a second run of the passes changes it"]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"{'FAIL' if wrong else 'ok'} {name}: {', '.join(wrong) or dict(counts)}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
