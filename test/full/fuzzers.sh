#!/usr/bin/env bash
# Builds the libFuzzer targets (in build/fuzz) and runs each for a minute from its seeds; a finding is kept in
# build/fuzz/findings. FUZZ_SECONDS sets another time. Closes with `N passed, N failed`.
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
dir=$build/fuzz
configure "$dir" -DNNOPT_SANITIZE=address,undefined -DNNOPT_BUILD_FUZZERS=ON
ninja -C "$dir" -j "$jobs" fuzzers
export ASAN_OPTIONS=detect_container_overflow=0:allow_user_poisoning=0:detect_leaks=0:allocator_may_return_null=1
export ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-22/bin/llvm-symbolizer UBSAN_OPTIONS=print_stacktrace=1

passed=0 failed=0
mkdir -p "$dir/findings"
for fuzzer in "$dir"/bin/*_fuzzer "$dir"/bin/*-fuzzer; do
  [ -x "$fuzzer" ] || continue
  name=$(basename "$fuzzer")
  corpus=$dir/corpus/$name
  mkdir -p "$corpus"
  seeds=()
  [ ! -d "$root/test/fuzz/seeds/$name" ] || seeds+=("$root/test/fuzz/seeds/$name")
  say "==== $name"
  if "$fuzzer" -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=4096 -timeout=30 -print_final_stats=1 \
    -artifact_prefix="$dir/findings/$name-" "$corpus" "${seeds[@]}" </dev/null 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1)) && say "FAIL  $name: the input is in ${dir#"$root"/}/findings"
  fi
done
say "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
