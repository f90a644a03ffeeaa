#!/usr/bin/env bash
# From a bare Debian 12 to a running model: installs what is missing, builds the compiler, compiles a
# model, runs it and shows the result and its latency.
#
#   tools/quickstart.sh                 a small trained network of this repository
#   tools/quickstart.sh model.onnx      your model, on random inputs
case ${1:-} in
-h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 0 ;;
-*) echo "tools/quickstart.sh $1: expected a model; see --help" >&2 && exit 2 ;;
esac
model=${1:+$(realpath -- "$1")}
if [ -n "$model" ] && [ ! -f "$model" ]; then
  echo "$model: no such file" >&2 && exit 3
fi
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin=$SECONDS
say "1/4  Installing what is missing"
"$root/tools/setup.sh"
say "2/4  Building the compiler with $jobs jobs (a first build takes minutes)"
[ -f "$build/build.ninja" ] || quietly configure configure "$build" -DNNOPT_BUILD_TESTS=OFF
if [ -t 1 ]; then
  ninja -C "$build" -j "$jobs" nnopt-compile nnopt-run
else
  quietly build ninja -C "$build" -j "$jobs" nnopt-compile nnopt-run
fi
say "     ready after $((SECONDS - begin)) s"

out=$build/quickstart
mkdir -p "$out"
if [ -z "$model" ]; then
  example=$root/examples/models/fashion
  artifact=$out/fashion.so
  say "3/4  nnopt-compile examples/models/fashion.onnx"
  "$build/bin/nnopt-compile" "$example.onnx" -o "$artifact"
  say "4/4  nnopt-run ${artifact#"$root"/} --inputs=examples/models/fashion.npz"
  "$build/bin/nnopt-run" "$artifact" --inputs="$example.npz" --outputs="$out/out.npz" --json="$out/run.json" \
    --warmup=20 --repeat=200 >"$logs/quickstart-run.log"
  "$python" "$root/examples/models/show_fashion.py" "$out/out.npz" "$example-expected.npz" "$out/run.json"
else
  name=$(basename "$model")
  artifact=$out/${name%.onnx}.so
  say "3/4  nnopt-compile $name"
  "$build/bin/nnopt-compile" "$model" -o "$artifact"
  say "4/4  nnopt-run ${artifact#"$root"/} (random inputs, dimensions without value are 1)"
  "$build/bin/nnopt-run" "$artifact" --warmup=3 --repeat=20
fi
say "The artifact is ${artifact#"$root"/}; next: build/bin/nnopt-compile --help, README.md, docs/"
