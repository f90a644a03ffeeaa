# shellcheck shell=bash
# Shell functions shared by setup.sh, quickstart.sh and check.sh; source it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${NNOPT_BUILD:-$root/build}
logs=$build/logs
mkdir -p "$logs"
cd "$root"

# The parallelism that cores and memory allow (a compiler process needs up to 1.5 GB).
jobs=$(nproc)
memory_kb=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo 2>/dev/null || echo 4000000)
[ $((memory_kb / 1500000)) -ge "$jobs" ] || jobs=$((memory_kb / 1500000))
[ "$jobs" -ge 1 ] || jobs=1

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}
seconds_since() { echo $(($(date +%s) - $1)); }

# quietly NAME COMMAND...: runs a command with its output in build/logs/NAME.log; when it fails, shows
# the end of the log and returns its status. With NNOPT_VERBOSE=1 the output is shown as well.
quietly() {
  local name=$1 log=$logs/$1.log status=0
  shift
  if [ -n "${NNOPT_VERBOSE:-}" ]; then
    "$@" 2>&1 </dev/null | tee "$log" || status=$?
  else
    "$@" >"$log" 2>&1 </dev/null || status=$?
  fi
  if [ $status -ne 0 ]; then
    tail -n 40 "$log" >&2
    say "$name failed (exit $status); the whole output is in ${log#"$root"/}" >&2
  fi
  return $status
}

# configure DIR [CMAKE OPTION...]: Ninja, clang-22, release. The compiler by its whole path: CMake drops the other
# options where a later search finds another spelling of it.
configure() {
  local dir=$1
  shift
  cmake -G Ninja -S "$root" -B "$dir" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=/usr/lib/llvm-22/bin/clang \
    -DCMAKE_CXX_COMPILER=/usr/lib/llvm-22/bin/clang++ -DNNOPT_PYTHON="$python" "$@"
}

python=$build/venv/bin/python
