#!/usr/bin/env bash
# Everything that is measured on a GPU, in one call: outputs of all models, latencies beside PyTorch, products, memory-bound
# kernels, tiles, and compute-sanitizer. Needs a GPU, PyTorch with torchvision, and NVIDIA's tools on PATH.
#
#   test/bench/gpu/all.sh FOLDER [STEP ...]     writes FOLDER/STEP.log and FOLDER/STEP.json
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 2; }
out=$1
shift
mkdir -p "$out"
failed=0
step() { # NAME COMMAND...
  local name=$1 begin=$SECONDS
  shift
  "$@" 2>&1 | tee "$out/$name.log" || failed=1
  echo "== $name: $((SECONDS - begin)) s"
}
for name in "${@:-models half peers products memory tiles sanitizer}"; do
  for name in $name; do
    case $name in
    models) step models "$here/models.py" --json="$out/models.json" ;;
    half) step half "$here/models.py" --precision=f16 --only=resnet50,bert_base,deit_tiny,llama_small,mobilenet_v2 --json="$out/half.json" ;;
    peers) step peers "$here/peers.py" --kernels=12 --json="$out/peers.json" ;;
    products) step products "$here/products.py" --json="$out/products.json" ;;
    memory) step memory "$here/memory.py" --json="$out/memory.json" ;;
    tiles) step tiles "$here/tiles.py" --json="$out/tiles.json" ;;
    sanitizer) step sanitizer "$here/sanitizer.sh" ;;
    *) echo "$0: there is no step $name" >&2 && exit 2 ;;
    esac
  done
done
exit $failed
