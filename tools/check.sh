#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests; ends with one line
# `N passed, N failed` over everything that ran, and exits non-zero on any failure.
#
#   tools/check.sh                 the default suites (60 to 85 minutes on 2 cores from a clean clone)
#   tools/check.sh --full          and the long ones: all models, sanitizers, fuzzers, a bare Debian
#   tools/check.sh --only REGEX    only the steps whose name matches (after set-up and build)
#   tools/check.sh --no-build      on what is built already
#   tools/check.sh --list          the names of all steps
#
# A step is a name and a command whose last lines contain `N passed, N failed`; a step that prints no
# such line, or ran nothing, counts as one failure. Whole outputs are in build/logs/.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

full="" only=. list="" no_build=""
while [ $# -gt 0 ]; do
  case $1 in
  --full) full=1 ;;
  --only) only=${2:?--only needs a regular expression} && shift ;;
  --list) list=1 ;;
  --no-build) no_build=1 ;;
  -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 0 ;;
  *) say "tools/check.sh: unknown argument $1; see --help" >&2 && exit 2 ;;
  esac
  shift
done
export NNOPT_BUILD=$build PATH=/usr/lib/llvm-22/bin:$PATH XDG_CACHE_HOME=$build/cache

# ---------------------------------------------------------------------------- adapters
# Each prints the counts of another runner in our form and returns 0 when nothing failed.

# ctest_counts DIR: the unit tests registered with CTest.
ctest_counts() {
  local output status=0
  output=$(ctest --test-dir "$1" --output-on-failure --no-tests=error -j "$jobs" --timeout 600 2>&1) || status=$?
  printf '%s\n' "$output"
  # "97% tests passed, 1 tests failed out of 34"
  printf '%s\n' "$output" | sed -nE 's/.* ([0-9]+) tests? failed out of ([0-9]+).*/\1 \2/p' |
    awk '{printf "%d passed, %d failed\n", $2 - $1, $1}'
  return $status
}

# lit_counts: FileCheck tests of the dialect, the passes and the tools.
lit_counts() {
  local output status=0
  output=$(timeout 1200 python3 "$lit" -v -j "$jobs" test 2>&1) || status=$?
  printf '%s\n' "$output"
  printf '%s\n' "$output" | awk '
    /^ *(Passed|Expectedly Failed) *:/ {sub(/^[^:]*:/, ""); passed += $1}
    /^ *(Failed|Timed Out|Unresolved|Unexpectedly Passed|Unsupported) *:/ {sub(/^[^:]*:/, ""); failed += $1}
    END {printf "%d passed, %d failed\n", passed, failed}'
  return $status
}
lit=/usr/lib/llvm-22/bin/lit

# script_counts SCRIPT...: Python programs that close with our line each, $jobs of them at a time; arguments
# belong to the script's word, as in "test/x.py --all". Shows their outputs in order and adds the counts up.
script_counts() {
  local script outputs i=0 status=0 last p=0 f=0
  outputs=$(mktemp -d)
  for script in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    (
      # shellcheck disable=SC2086 # the script's arguments
      begin=$SECONDS code=0
      "$python" $script >"$outputs/$i" 2>&1 || code=$?
      echo "$code $((SECONDS - begin))" >"$outputs/$i.code"
    ) &
    i=$((i + 1))
  done
  wait
  i=0
  for script in "$@"; do
    local code=99 seconds=0
    read -r code seconds <"$outputs/$i.code" || true
    say "==== $script ($seconds s)"
    cat "$outputs/$i"
    last=$(tail -n 1 "$outputs/$i")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
      p=$((p + BASH_REMATCH[1])) f=$((f + BASH_REMATCH[2]))
      [ "$code" -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || code=99
    else
      code=99
    fi
    # A script that failed without saying how often counts once.
    [ "$code" -ne 99 ] || f=$((f + 1))
    [ "$code" -eq 0 ] || status=1
    i=$((i + 1))
  done
  rm -rf "$outputs"
  say "$p passed, $f failed"
  return $status
}

# pytest_counts FOLDER: tests of pytest against the package in the build tree.
pytest_counts() {
  local output status=0
  output=$("$python" -m pytest -q -p no:cacheprovider -p no:warnings "$1" 2>&1) || status=$?
  printf '%s\n' "$output"
  # "1 failed, 53 passed, 2 errors in 37.48s"
  printf '%s\n' "$output" | tail -n 1 | awk '{
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^passed/) p += $(i - 1)
      if ($i ~ /^(failed|error)/) f += $(i - 1)
    }
    printf "%d passed, %d failed\n", p, f}'
  return $status
}

# size_limit FILE BYTES: the static runtime stays small.
size_limit() {
  local bytes
  bytes=$(stat -c %s "$1")
  say "$1: $bytes bytes, limit $2"
  if [ "$bytes" -lt "$2" ]; then say "1 passed, 0 failed"; else say "0 passed, 1 failed" && return 1; fi
}

# ---------------------------------------------------------------------------- steps
# run_step NAME COMMAND...: adds the counts of a step to the totals.
passed=0 failed=0 number=0
failures=()
run_step() {
  local name=$1 begin=$SECONDS log=$logs/check-${1// /-}.log status=0 counts p=0 f=0
  shift
  number=$((number + 1))
  [ -z "$list" ] || { say "$name" && return; }
  [[ $name =~ $only ]] || return 0
  printf '[%2d] %-22s ' "$number" "$name"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  counts=$(tail -n 5 "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed' | tail -n 1) || counts=
  if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
    p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]}
  fi
  # No count, no test, or a bad exit that no count explains: a failure by itself.
  if [ $((p + f)) -eq 0 ] || { [ $status -ne 0 ] && [ "$f" -eq 0 ]; }; then
    f=$((f + 1))
    counts="${counts:-no result} (exit $status)"
  fi
  passed=$((passed + p)) failed=$((failed + f))
  printf '%s  [%d s]\n' "$counts" $((SECONDS - begin))
  if [ "$f" -gt 0 ]; then
    failures+=("$name")
    tail -n 30 "$log" | sed 's/^/     | /'
    say "     whole output: ${log#"$root"/}"
  fi
}
step() { run_step "$@"; }
full_step() { if [ -n "$full$list" ]; then run_step "$@"; fi; }
finish() {
  [ -z "$list" ] || exit 0
  [ ${#failures[@]} -eq 0 ] || say "Failed: ${failures[*]}"
  say "Took $((SECONDS / 60)) min $((SECONDS % 60)) s"
  say "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

# Set-up and build: a failure here ends the run.
if [ -z "$list$no_build" ]; then
  say "nnopt: checking in ${build#"$root"/} with $jobs jobs"
  begin=$SECONDS
  "$root/tools/setup.sh" "$([ -n "$full" ] && echo full || echo test)" || { failed=1 && failures+=(setup) && finish; }
  printf '     %-22s done  [%d s]\n' set-up $((SECONDS - begin))
  begin=$SECONDS
  quietly configure configure "$build" -DNNOPT_BUILD_TESTS=ON -DNNOPT_BUILD_PYTHON=ON -DPython_EXECUTABLE="$python" && quietly build ninja -C "$build" -j "$jobs" || { failed=1 && failures+=(build) && finish; }
  printf '     %-22s done  [%d s]\n' build $((SECONDS - begin))
fi

step "runtime size" size_limit "$build/lib/libnnopt_runtime.a" 200000
step "unit tests" ctest_counts "$build"
step "lit" lit_counts
step "command lines" script_counts test/cli/*.py
step "documents" script_counts test/docs/*.py "tools/gen-docs.py --check" "test/conformance/status.py --check"
step "importer" script_counts test/frontend/*.py
step "passes" script_counts test/passes/*.py
step "kernels" script_counts test/codegen/*.py test/conformance/{attention,classical,irregular,quantized,random_numbers,sampling}.py
step "cuda" script_counts test/cuda/*.py
step "conformance" script_counts "test/conformance/backend.py --plan=default --jobs=$jobs"
step "differential" script_counts "test/fuzz/differential.py --kind=ops --cases=300 --jobs=$jobs" \
  "test/fuzz/differential.py --kind=graphs --cases=300 --jobs=$jobs"
step "export to ONNX" script_counts "test/export/run.py --jobs=$jobs"
step "compression" script_counts test/compress/{limits,tokens,techniques,language,int8,moe}.py
step "report" script_counts test/report/data.py
step "Python package" pytest_counts test/python
step "installed tree" test/install/run.sh
step "models" script_counts "test/models/run.py --set=default" test/models/rewrites.py test/models/guards.py

full_step "all models" script_counts "test/models/run.py --set=full" "test/models/rewrites.py --set=full"
full_step "all exports" script_counts "test/export/run.py --set=full --graphs=200 --nodes=1 --huge --jobs=$jobs"
full_step "all of conformance" script_counts "test/conformance/backend.py --plan=full --jobs=$jobs"
full_step "more differential" script_counts "test/fuzz/differential.py --kind=ops --cases=20000 --seed=2 --jobs=$jobs" \
  "test/fuzz/differential.py --kind=graphs --cases=20000 --seed=2 --jobs=$jobs"
full_step "big model" script_counts test/full/big_model.py
full_step "random shapes" script_counts test/full/random_shapes.py
full_step "all of compression" script_counts "test/compress/limits.py --full" test/compress/accuracy.py "test/compress/moe.py --trained" \
  "test/compress/sparsity.py --only=mobilenetv2,resnet20 --shares=80"
full_step "report page" script_counts test/report/page.py
full_step "AArch64" script_counts test/aarch64/run.py
full_step "wheel" test/full/wheel.sh
full_step "sanitizers" test/full/sanitizers.sh
full_step "fuzzers" test/full/fuzzers.sh
full_step "bare Debian" test/full/fresh-root.sh
finish
