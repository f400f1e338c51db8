#!/usr/bin/env bash
# check_format.sh [fix]: says which C++ files differ from .clang-format, or rewrites them.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = fix ]; then options=(-i); else options=(--dry-run --Werror --ferror-limit=1); fi
find include tests examples benchmarks \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cu' \) -print0 | sort -z |
  xargs -0 -r clang-format "${options[@]}" ||
  { echo "Some files are not formatted: run 'make format'." >&2; exit 1; }
