#!/usr/bin/env bash
# install_packages.sh demo|test|bench|compare|compress: installs the Debian packages that it lacks, if any.
set -eu

packages="g++ cmake ninja-build libdnnl-dev nlohmann-json3-dev libcli11-dev"
case "${1:-}" in
  demo) ;;
  bench) packages="$packages libbenchmark-dev" ;;
  compare) packages="$packages libbenchmark-dev python3-venv" ;;
  compress) packages="$packages libxxhash-dev xz-utils zstd bzip2 p7zip-full" ;;
  test)
    packages="$packages libxxhash-dev libbenchmark-dev libeigen3-dev catch2 clang libclang-rt-dev clang-format python3 python3-venv
      libsentencepiece-dev sentencepiece"
    ;;
  *) echo "usage: $0 demo|test|bench|compare|compress" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system: install the counterparts of these packages yourself: $packages" >&2
  exit 0
fi

missing=""
for package in $packages; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=""
elif command -v sudo >/dev/null; then
  as_root="sudo"
else
  echo "These packages are missing, and installing them needs root or sudo:$missing" >&2
  exit 1
fi

echo "installing:$missing"
$as_root apt-get update -q
# shellcheck disable=SC2086  # both are lists of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
