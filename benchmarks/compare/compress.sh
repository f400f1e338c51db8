#!/usr/bin/env bash
# compress.sh [PROGRAM] [TEXT]: bits per byte and seconds of compress_text and of Debian's compressors, on what every
# Debian machine has. TEXT is one more file, such as tiny Shakespeare. SIZES, as in "--fast" or "--fast --best", are the
# models to compare; BYTES cuts the inputs; RESTORE=0 leaves out that everything is restored and compared.
set -euo pipefail
program=${1:-build/cpu-release/examples/compress_text}
text=${2:-}
sizes=${SIZES:---fast --default}
most=${BYTES:-10000000}
restore=${RESTORE:-1}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C

# The start of the files whose names come on standard input; compressed ones are unpacked.
start_of() { sort | xargs -d '\n' -r zcat -f 2> /dev/null | head -c "$most" || true; }
find /usr/include /usr/lib/gcc -type f -name '*.h' | start_of > "$folder/c_source"
find /usr/share/doc /usr/share/perl /usr/share/info -type f \( -name '*.pod' -o -name '*.txt*' -o -name '*.md*' -o \
  -name 'README*' -o -name '*.info*' -o -name 'NEWS*' \) | start_of > "$folder/prose"
find "$here/../../include" -type f -name '*.hpp' | start_of > "$folder/headers"
# A log of a server, and four letters whose frequencies depend on the two before.
awk -v most="$most" 'BEGIN {
  x = 1; bytes = 0
  split("GET POST PUT HEAD", verb); split("index search image/logo api/v1/items login static/site.css", page)
  while (bytes < most / 5) {
    x = (x * 16807) % 2147483647; t += x % 3000
    line = sprintf("2024-05-%02d %02d:%02d:%02d.%03d host%d httpd[%d]: %s /%s?id=%d HTTP/1.1 %d %d\n",
      1 + int(t / 86400000) % 28, int(t / 3600000) % 24, int(t / 60000) % 60, int(t / 1000) % 60, t % 1000,
      x % 4, 1000 + x % 16, verb[1 + x % 7 % 4], page[1 + x % 13 % 6], x % 5000, x % 11 ? 200 : 404, x % 20000)
    bytes += length(line); printf "%s", line
  }
}' > "$folder/log"
awk -v most="$most" 'BEGIN {
  x = 1; split("ACGT", letter, "")
  while (n++ < most / 5) {
    x = (x * 16807) % 2147483647
    next_one = x % 100 < 55 ? (3 * a + b + 1) % 4 : int(x / 100) % 4
    a = b; b = next_one
    printf "%s", letter[1 + b]; if (n % 70 == 0) printf "\n"
  }
}' > "$folder/four_letters"
[ -z "$text" ] || head -c "$most" "$text" > "$folder/$(basename "$text")"

seconds() { date +%s.%N; }
# row NAME BYTES COMPRESSED BEGIN END
row() {
  awk -v name="$1" -v bytes="$2" -v coded="$3" -v from="$4" -v to="$5" 'BEGIN {
    printf "  %-22s %10d %8.3f %9.1f %12.0f\n", name, coded, 8 * coded / bytes, to - from, bytes / (to - from + 1e-9)
  }'
}
# measure NAME FILE COMMAND...: the command writes to standard output
measure() {
  local name=$1 file=$2 from
  shift 2
  command -v "$1" > /dev/null || { printf '  %-22s is not installed\n' "$name"; return; }
  from=$(seconds)
  "$@" < "$file" > "$folder/out.compressed"
  row "$name" "$(stat -c %s "$file")" "$(stat -c %s "$folder/out.compressed")" "$from" "$(seconds)"
}
# 7-Zip cannot write this format to standard output.
if command -v 7z > /dev/null; then
  ppmd() {
    7z a -bd -m0=PPMd:mem=256m:o=16 -si "$folder/archive.compressed" > /dev/null
    cat "$folder/archive.compressed"
    rm "$folder/archive.compressed"
  }
fi
for file in "$folder"/*; do
  case $file in *.compressed) continue ;; esac
  echo "$(basename "$file"), $(stat -c %s "$file") bytes"
  printf '  %-22s %10s %8s %9s %12s\n' program bytes bits/byte seconds bytes/s
  measure 'xz -9e' "$file" xz -9e -c
  measure 'zstd --ultra -22' "$file" zstd --ultra -22 -q -c
  measure 'bzip2 -9' "$file" bzip2 -9 -c
  measure '7z PPMd' "$file" ppmd
  for size in $sizes; do
    measure "compress_text $size" "$file" "$program" $([ "$size" = --default ] || echo "$size") --out - - 2> /dev/null
    [ "$restore" = 0 ] && continue
    from=$(seconds)
    "$program" --restore "$folder/out.compressed" --out - 2> /dev/null | cmp - "$file"
    row '  restored' "$(stat -c %s "$file")" "$(stat -c %s "$folder/out.compressed")" "$from" "$(seconds)"
  done
done
