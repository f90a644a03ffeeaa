#!/usr/bin/env bash
# Installs into a folder of its own and uses what is there as another project would: the tools, the example
# applications through find_package(nnopt), the example pass as a plugin. Closes with `N passed, N failed`.
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
prefix=$build/installed
work=$build/test-install
rm -rf "$prefix" "$work"
mkdir -p "$work"

passed=0 failed=0
# expect NAME COMMAND...
expect() {
  local name=$1 log=$work/log
  shift
  if "$@" >"$log" 2>&1 </dev/null; then
    passed=$((passed + 1)) && say "ok    $name"
  else
    failed=$((failed + 1)) && say "FAIL  $name" && sed 's/^/      /' "$log" | tail -n 30
  fi
}
# build_example NAME: configures examples/NAME against the installed tree only.
build_example() {
  cmake -G Ninja -S "$root/examples/$1" -B "$work/$1" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang-22 \
    -DCMAKE_CXX_COMPILER=clang++-22 -DCMAKE_PREFIX_PATH="$prefix" && ninja -C "$work/$1"
}

expect "install" cmake --install "$build" --prefix "$prefix"
# The build's own libraries must not be needed: installed ones are found beside the tools.
for tool in nnopt-compile nnopt-opt nnopt-run nnopt-bench nnopt-reduce nnopt-lsp-server; do
  expect "$tool --version" "$prefix/bin/$tool" --version
done
uses_own_library() { ldd "$prefix/bin/nnopt-compile" | grep -F "libnnoptc.so" | grep -F "$(realpath "$prefix")"; }
expect "nnopt-compile uses the installed library" uses_own_library
model=$root/examples/models/fashion
expect "compile" "$prefix/bin/nnopt-compile" "$model.onnx" -o "$work/fashion.so"
expect "run" "$prefix/bin/nnopt-run" "$work/fashion.so" --inputs="$model.npz" --outputs="$work/out.npz" --json="$work/run.json"
expect "the answers are right" "$python" "$root/examples/models/show_fashion.py" "$work/out.npz" "$model-expected.npz" "$work/run.json"

# The programs in the documentation compile; that of the README runs.
# block FILE LANGUAGE: the first code block of that language that has #include <nnopt/...>
block() {
  awk -v fence="\`\`\`$2" '
    $0 == fence {inside = 1; text = ""; next}
    /^```/ && inside {if (text ~ /#include <nnopt/) {printf "%s", text; exit} inside = 0}
    inside {text = text $0 "\n"}' "$root/$1"
}
link=("-I$prefix/include" "$(find "$prefix" -name libnnopt_runtime.a)" -lpthread -ldl)
readme() {
  block README.md cpp >"$work/readme.cpp" &&
    clang++-22 -std=c++17 -Wall -Werror "$work/readme.cpp" "${link[@]}" -o "$work/readme" &&
    (cd "$work" && ./readme | grep -E '^class [0-9]$')
}
embedding() {
  block docs/embedding.md cpp >"$work/embedding.cpp" && clang++-22 -std=c++17 -Wall -Werror -c "$work/embedding.cpp" "${link[0]}" -o "$work/embedding.o" &&
    { printf '#include <stdio.h>\n'; block docs/embedding.md c | sed 's|^nnopt_error error;|int run(float *image, float *scores) {\n&|'; printf 'return 0;\n}\n'; } >"$work/fragment.c" &&
    clang-22 -Wall -Werror -c "$work/fragment.c" "${link[0]}" -o "$work/fragment.o"
}
expect "the program of README.md" readme
expect "the programs of docs/embedding.md" embedding

expect "build the example pass" build_example pass
plugin() {
  local command
  command=$(sed -n 's|^// RUN: ||p' "$root/examples/pass/test.mlir")
  command=${command//%plugin/$work/pass/libMergeRelus.so}
  command=${command//%s/$root/examples/pass/test.mlir}
  PATH=$prefix/bin:/usr/lib/llvm-22/bin:$PATH bash -o pipefail -c "$command"
}
expect "run the example pass" plugin

# The last command of docs/writing-a-pass.md, as it stands there.
guide() {
  local command
  command=$(grep -F 'nnopt-opt --load-pass-plugin=libMergeRelus.so' "$root/docs/writing-a-pass.md") &&
    ln -sf "$work/pass/libMergeRelus.so" "$model.onnx" "$work/" && ln -sf fashion.onnx "$work/model.onnx" &&
    (cd "$work" && PATH=$prefix/bin:$PATH LD_LIBRARY_PATH=. bash -c "$command" | grep -F nn.relu)
}
expect "the plugin command of docs/writing-a-pass.md" guide

# An operator of a domain of its own: an import rule in a plugin, a kernel in C.
expect "build the example operator" build_example custom-op
custom=$work/custom-op
compile_custom() { "$prefix/bin/nnopt-compile" "$custom/model.onnx" -o "$custom/model.so" "$@"; }
rule=--load-pass-plugin=$custom/libClampedCube.so
# refused CODE PATTERN COMMAND...
refused() {
  local code=$1 pattern=$2 status=0 output
  shift 2
  output=$("$@" 2>&1) || status=$?
  say "$output" && [ "$status" -eq "$code" ] && grep -qE "$pattern" <<<"$output"
}
expect "make the model of the example operator" "$python" "$root/examples/custom-op/make_model.py" "$custom/model.onnx" "$custom/in.npz" "$custom/expected.npz"
expect "the operator is unknown without the plugin" refused 4 "com.example.ClampedCube" compile_custom
expect "its kernel is missing without the object" refused 2 "clamped_cube" compile_custom "$rule"
expect "it is not written back to ONNX" refused 4 "nn.custom" compile_custom "$rule" --emit=onnx
expect "compile the example operator" compile_custom "$rule" --link="$custom/clamped_cube.o" --verify
same() {
  "$prefix/bin/nnopt-run" "$custom/model.so" --inputs="$custom/in.npz" --outputs="$custom/out.npz" &&
    "$python" -c "import numpy as np, sys; a, b = (np.load(f)['y'] for f in sys.argv[1:]); np.testing.assert_allclose(a, b, rtol=1e-6)" "$custom/out.npz" "$custom/expected.npz"
}
expect "the example operator's answers are right" same

say "$passed passed, $failed failed"
[ $failed -eq 0 ]
