#!/usr/bin/env bash
# Builds the wheel by `pip install .` in a virtual environment of its own and runs the tests of the Python
# package against what was installed. Closes with `N passed, N failed`: one for the installation, one for
# each entry point, and what pytest counted.
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
work=$build/test-wheel
rm -rf "$work"
python3 -m venv "$work"
passed=0 failed=0
ok() { passed=$((passed + 1)) && say "ok    $1"; }
bad() { failed=$((failed + 1)) && say "FAIL  $1"; }

if quietly pip-install-wheel "$work/bin/pip" install --no-input --disable-pip-version-check ".[backend,dtypes]" pytest; then
  ok "pip install ."
else
  bad "pip install ." && say "$passed passed, $failed failed" && exit 1
fi
for tool in nnopt-compile nnopt-run nnopt-opt nnopt-bench; do
  if "$work/bin/$tool" --version; then ok "$tool"; else bad "$tool"; fi
done
# The wheel must not need the build tree.
package=$("$work/bin/python" -P -c 'import nnopt, os; print(os.path.dirname(nnopt.__file__))')
if ldd "$package/bin/nnopt-compile" | grep -F libnnoptc.so | grep -qF "$package"; then ok "own library"; else bad "own library"; fi
if ldd "$package"/_runtime*.so | grep -E 'LLVM|MLIR|nnoptc'; then bad "running needs no compiler"; else ok "running needs no compiler"; fi

output=$(NNOPT_PYTHON_INSTALLED=1 "$work/bin/python" -P -m pytest -q -p no:cacheprovider test/python 2>&1) || true
printf '%s\n' "$output" | tail -n 60
counts=$(printf '%s\n' "$output" | tail -n 1)
[[ $counts =~ ([0-9]+)\ passed ]] && passed=$((passed + BASH_REMATCH[1])) || failed=$((failed + 1))
[[ ! $counts =~ ([0-9]+)\ (failed|error) ]] || failed=$((failed + BASH_REMATCH[1]))
rm -rf "$work"
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
