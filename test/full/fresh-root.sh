#!/usr/bin/env bash
# Proves the two commands on a bare Debian 12: makes a minimal root with debootstrap, puts a clean copy of the tree
# into it, and runs tools/quickstart.sh and then tools/check.sh there in a chroot. Needs root. Closes with
# `N passed, N failed`: one for each command and what tools/check.sh counted.
#
#   test/full/fresh-root.sh                    both commands
#   test/full/fresh-root.sh quickstart         only the first
#   test/full/fresh-root.sh --keep ...         leaves the root, to look around
#
# The mirrors, certificates and proxies of this machine are used: they are carried into the root, as an
# administrator would configure a new machine. FRESH_ROOT names the folder (default: build/fresh-root).
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
keep=
[ "${1:-}" != --keep ] || { keep=1 && shift; }
what=${1:-all}
[ "$(id -u)" = 0 ] || die "test/full/fresh-root.sh needs root (debootstrap, chroot)"
fresh=${FRESH_ROOT:-$build/fresh-root}

trap 'say "test/full/fresh-root.sh: line $LINENO failed" >&2' ERR
unmount() {
  for point in shared dev proc; do
    ! mountpoint -q "$fresh/$point" || umount "$fresh/$point"
  done
}
clear_root() {
  unmount
  rm -rf --one-file-system "$fresh"
}
if [ -n "$keep" ]; then trap unmount EXIT; else trap clear_root EXIT; fi
clear_root

# The mirror that apt uses here.
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
  awk '$2 == "bookworm" {print $1; exit}')
say "debootstrap bookworm from the configured mirror"
quietly debootstrap debootstrap --variant=minbase bookworm "$fresh" ${mirror:+"$mirror"}

# What makes this machine reach its mirrors: sources, proxies, names, certificates. Each only where it exists.
rm -f "$fresh/etc/apt/sources.list"
cp -a /etc/apt/sources.list.d/debian.sources "$fresh/etc/apt/sources.list.d/" 2>/dev/null ||
  cp -a /etc/apt/sources.list "$fresh/etc/apt/"
{ grep -lriE 'proxy|https::' /etc/apt/apt.conf /etc/apt/apt.conf.d 2>/dev/null || true; } |
  xargs -r -I{} cp {} "$fresh/etc/apt/apt.conf.d/"
cp -L /etc/resolv.conf /etc/hosts "$fresh/etc/"
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$fresh/etc/"
environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin)
while IFS= read -r variable; do
  environment+=("$variable")
done < <(env | grep -E '^(PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_TRUSTED_HOST|PIP_DEFAULT_TIMEOUT|CI|[a-zA-Z]+_(proxy|PROXY))=' || true)
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$fresh/root/certificates.crt"
  environment+=(PIP_CERT=/root/certificates.crt)
fi
mount --bind /proc "$fresh/proc"
mount --bind /dev "$fresh/dev"
# A clean copy: tracked files only. The test models lie beside the tree where they exist.
mkdir -p "$fresh/nnopt"
git -C "$root" ls-files -z | (cd "$root" && xargs -0 tar c --ignore-failed-read) | tar x -C "$fresh/nnopt"
if [ -d "$root/../shared" ]; then
  mkdir -p "$fresh/shared"
  mount --bind -o ro "$root/../shared" "$fresh/shared"
fi

inside() { chroot "$fresh" /usr/bin/env -i "${environment[@]}" bash -c "cd /nnopt && $*" </dev/null; }
passed=0 failed=0
say "==== tools/quickstart.sh"
if inside tools/quickstart.sh 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)) && say "FAIL  tools/quickstart.sh"; fi
if [ "$what" = all ]; then
  say "==== tools/check.sh"
  status=0
  inside tools/check.sh >"$logs/fresh-check.log" 2>&1 || status=$?
  cat "$logs/fresh-check.log"
  last=$(tail -n 1 "$logs/fresh-check.log")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] && { [ $status -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ]; }; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1))
  fi
fi
say "$passed passed, $failed failed"
[ $failed -eq 0 ]
