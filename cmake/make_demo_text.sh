#!/usr/bin/env bash
# make_demo_text.sh FILE: writes the first 2.5 MB of the installed C++ standard library's headers, in a fixed order, to
# FILE.
set -eu
export LC_ALL=C

folder=$(find /usr/include/c++ -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort -V | tail -n 1)
if [ -z "$folder" ]; then
  echo "There are no C++ headers in /usr/include/c++ to learn from: give a text with TEXT=path." >&2
  exit 1
fi

mkdir -p "$(dirname "$1")"
# head stops reading early, so the other commands' write errors are expected.
{ find "$folder" -type f -print0 | sort -z | xargs -0 cat 2>/dev/null || true; } | head -c 2500000 > "$1.part"
mv "$1.part" "$1"
