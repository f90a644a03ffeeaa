#!/usr/bin/env bash
# compute-sanitizer (accesses, races in shared memory, barriers) over models that have most kinds of kernels. Ends with
# `N passed, N failed`.
#
#   test/bench/gpu/sanitizer.sh [MODEL.PRECISION ...]     models of the corpus as models.py compiles them
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${NNOPT_BUILD:-$here/../../../build}
[ $# -gt 0 ] || set -- mobilenetv3_small.f32 gru_rows.f32 moe_lm.f32 vit.f16 resnet20.f16 lm_cache.f16
passed=0 failed=0
python3 - "$here" "$@" <<'PY' || exit 1
import os, sys
sys.path.insert(0, sys.argv[1])
from common import architecture
from models import FOLDER, build
import numpy as np
for model in sys.argv[2:]:
    name, precision = model.rsplit(".", 1)
    np.savez(os.path.join(FOLDER, model + ".npz"), **build(name, precision, architecture()[0])[1])
PY
for model in "$@"; do
  for tool in memcheck racecheck synccheck; do
    if log=$(compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/bin/nnopt-run" "$build/gpu/$model.so" --device=cuda \
      --inputs="$build/gpu/$model.npz" --quiet 2>&1); then
      passed=$((passed + 1))
      echo "ok     $tool $model: $(tail -n 1 <<<"$log")"
    else
      failed=$((failed + 1))
      echo "FAILED $tool $model"
      tail -n 30 <<<"$log"
    fi
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
