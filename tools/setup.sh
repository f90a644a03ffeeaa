#!/usr/bin/env bash
# Installs what is missing, and only that, on Debian 12 as root:
#
#   tools/setup.sh            what building and running needs
#   tools/setup.sh test       and what the tests need
#   tools/setup.sh full       and what tools/check.sh --full needs (sanitizers, debootstrap, a browser, AArch64)
#   tools/setup.sh bench      and the peers that test/bench/compare.py measures
#
# Debian packages come through apt and its configured mirrors (LLVM 22 is in Debian 12's security
# suite, which is on by default); Python packages go into build/venv through pip and its configuration.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

what=${1:-build}
debian=(clang-22 lld-22 llvm-22-dev libmlir-22-dev mlir-22-tools liblld-22-dev
  protobuf-compiler libprotobuf-dev nlohmann-json3-dev libeigen3-dev libzip-dev
  libjpeg-dev libpng-dev libtiff-dev libwebp-dev libopenjp2-7-dev libre2-dev
  cmake ninja-build pkg-config python3-venv python3-dev ca-certificates)
pypi=("onnx==1.23.2" numpy)
case $what in
build) ;;
test | full | bench)
  debian+=(libgtest-dev)
  pypi+=(pytest onnxruntime nanobind)
  ;;
*) die "tools/setup.sh $what: expected build, test, full or bench" ;;
esac
[ "$what" != full ] || debian+=(libclang-rt-22-dev debootstrap chromium chromium-driver
  qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
[ "$what" != bench ] || pypi+=(openvino)
[ "$what" != full ] || pypi+=(pillow)

missing=()
for package in "${debian[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "These Debian packages are missing: ${missing[*]}
Run as root:  apt-get update && apt-get install ${missing[*]}"
  say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A broken foreign source need not stop us: what counts is whether the packages can be installed.
  apt-get update >"$logs/apt-update.log" 2>&1 </dev/null || say "apt-get update reported errors (build/logs/apt-update.log)" >&2
  unavailable=()
  for package in "${missing[@]}"; do
    [ -n "$(apt-cache madison "$package" 2>/dev/null)" ] || unavailable+=("$package")
  done
  [ ${#unavailable[@]} -eq 0 ] || die "apt has no package ${unavailable[*]}.
This needs Debian 12 with its security suite (bookworm-security), which carries LLVM 22; see /etc/apt/sources.list*."
  quietly apt-install apt-get install -y --no-install-recommends "${missing[@]}"
fi

# Prints the requirements that the venv does not satisfy.
check_python='
import sys
from importlib.metadata import version, PackageNotFoundError
for requirement in sys.argv[1:]:
    name, _, wanted = requirement.partition("==")
    try:
        found = version(name)
    except PackageNotFoundError:
        found = None
    if found is None or (wanted and found != wanted):
        print(requirement)
'
[ -x "$python" ] && "$python" -c 'import pip' 2>/dev/null || quietly venv python3 -m venv --clear "$build/venv"
mapfile -t missing < <("$python" -c "$check_python" "${pypi[@]}")
if [ ${#missing[@]} -gt 0 ]; then
  say "Installing ${#missing[@]} Python packages into ${build#"$root"/}/venv: ${missing[*]}"
  quietly pip-install "$python" -m pip install --no-input --disable-pip-version-check "${missing[@]}"
fi
