#!/usr/bin/env bash
# Builds everything with AddressSanitizer and UndefinedBehaviorSanitizer (in build/sanitize) and runs the unit
# tests and the corpora of bad input with it. Closes with `N passed, N failed`.
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
dir=$build/sanitize
# Debian's libMLIR, libLLVM and lld are not instrumented: containers that cross the border look overflown to us, what
# our copies of LLVM's allocators poison is not freed for theirs, and global registries look leaked.
export ASAN_OPTIONS=detect_container_overflow=0:allow_user_poisoning=0:detect_leaks=0:abort_on_error=0:exitcode=99:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=99
export ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-22/bin/llvm-symbolizer NNOPT_BUILD=$dir

configure "$dir" -DNNOPT_SANITIZE=address,undefined
ninja -C "$dir" -j "$jobs"

passed=0 failed=0
# count NAME STATUS LINE: adds a line `N passed, N failed`; one failure when there is none.
count() {
  say "$1: $3"
  if [[ $3 =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] && { [ "$2" -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ]; }; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1))
  fi
}

status=0
output=$(ctest --test-dir "$dir" --output-on-failure --no-tests=error -j "$jobs" --timeout 1800 2>&1) || status=$?
printf '%s\n' "$output"
line=$(printf '%s\n' "$output" | sed -nE 's/.* ([0-9]+) tests? failed out of ([0-9]+).*/\1 \2/p' |
  awk '{printf "%d passed, %d failed", $2 - $1, $1}')
count "unit tests" $status "$line"
for script in test/frontend/*.py test/cli/run.py; do
  status=0
  output=$("$python" "$script" 2>&1) || status=$?
  printf '%s\n' "$output"
  count "$script" $status "$(printf '%s\n' "$output" | tail -n 1)"
done
say "$passed passed, $failed failed"
[ $failed -eq 0 ]
