#!/usr/bin/env python3
"""Every pass by itself on random models, against --opt=0.

    numeric_alone.py [--seed=N] [--count=N] [--only=PASS] [--keep=DIR]

Case n is pass n of the passes in passes/ (all of them in turn), on a random model of numeric.py,
numeric_patterns.py or numeric_cleanup.py. The pass runs behind infer-shapes and in front of nothing: what it makes is lowered as it is.
The largest difference relative to an output's scale may be 1e-5, 1e-12 for f64 models. Ends with
`N passed, N failed`.
"""
import glob
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numeric
import numeric_cleanup
import numeric_patterns

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "passes")
# Of those that are not exact, narrow-to-bf16 is tested in test/codegen/ops_bf16.py, narrow-to-f16 in numeric_half.py (quantize
# does nothing by itself).
PASSES = sorted(name for name in os.listdir(FOLDER) if glob.glob(os.path.join(FOLDER, name, "*.td")) and not name.startswith("narrow-to-"))
# What a pass needs to have something to do, and models where it does.
BEFORE = {"fuse-elementwise": "cleanup-transposes", "convert-layout": "fold-shapes", "merge-shared-input": "fold-constants,cleanup-transposes",
          "fold-norm-affine": "cleanup-transposes,raise-patterns", "merge-sequential-linear": "cleanup-transposes,raise-patterns",
          "group-experts": "fold-shapes,canonicalize"}
MODELS = {"fold-norm-affine": ["transformer", "stream"], "merge-sequential-linear": ["branches", "branches", "one head"],
          "group-experts": ["experts"], "merge-constants": ["equal constants"], "fold-pad": ["pad", "cnn"],
          "raise-patterns": ["rotary", "transformer", "cnn", "recurrent", "normalization"], "merge-parallel-convs": ["branches"],
          "fold-batch-norm": ["cnn", "branches", "preactivation", "recurrent norm"],
          "merge-shared-input": ["transformer"], "cleanup-transposes": ["transformer", "rotary", "cnn", "chains"],
          "cleanup-slices": ["concats"], "hoist-slices": ["parts"], "reorder-resampling": ["resampling"], "remove-relu-units": ["units"], "factorize-low-rank": ["low rank"],
          "remove-dead-channels": ["units"],
          "unroll-loops": ["control"], "fold-constants": ["weights", "cnn", "transformer"]}
KINDS = {**{k: build for k, (build, _) in numeric.KINDS.items()}, **{k: build for k, (build, _) in numeric_patterns.KINDS.items()},
         **{k: build for k, (build, _) in numeric_cleanup.KINDS.items()}}


def main():
    chosen = numeric.options(__doc__, 2 * len(PASSES), choices=PASSES)
    turn = iter(range(chosen.seed - 1, 1 << 30))

    def make(rng):
        name = chosen.only or PASSES[next(turn) % len(PASSES)]
        kind = rng.choice(MODELS.get(name, list(KINDS)))
        graph = numeric.Graph(rng, rng.choice([np.float32, np.float64]))
        model = KINDS[kind](graph)
        passes = ["infer-shapes", *BEFORE.get(name, "").split(","), name]
        return f"{name} on {kind}", graph, model, [f"--passes={','.join(p for p in passes if p)}"]

    return numeric.run(chosen, make)


if __name__ == "__main__":
    sys.exit(main())
