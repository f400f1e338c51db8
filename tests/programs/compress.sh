# compress_text: every file comes back to the bit; a wrong one is named with the byte up to which it is good; nothing
# half written stays.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
if ! command -v compress_text > /dev/null; then
  echo 'skipped: compress_text was not built, because xxhash.h is missing'
  exit
fi
compress="compress_text --tiny --threads 1"

# Bytes that depend on the seed: random_bytes COUNT SEED
random_bytes() {
  printf "$(awk -v count="$1" -v x="$2" 'BEGIN {
    for (n = 0; n < count; ++n) { x = (x * 16807) % 2147483647; printf "\\%03o", int(x / 77) % 256 }
  }')"
}

# What compression writes is restored to the bit: of every size and kind, and through pipes.
: > empty
printf x > one
printf '\0\377' > two
random_bytes 255 1 > binary_255
text 800 1 > words
random_bytes 5000 2 > binary
head -c 20000 /dev/zero > zeros
{ cat words words; head -c 3000 /dev/zero; cat binary; } > mixed
text 20000 3 > longer  # a second block
for n in 1 2 3 4 5 6 7 8 9 10 11; do
  case $((n % 3)) in
    0) random_bytes $((n * n * 13)) $n ;;
    1) text $((n * 60)) $n ;;
    2) for word in $(seq $((n * 40))); do printf '%s,%s\n' $((word * n % 17)) $word; done ;;
  esac > "various_$n"
done
for file in empty one two binary_255 words binary zeros mixed longer various_*; do
  works $compress $file
  mv $file $file.original
  works compress_text --restore $file.strata
  same $file $file.original
done
[ "$(stat -c %s zeros.strata)" -lt 1500 ] || fail 'zeros are not compressed'
[ "$(stat -c %s longer.strata)" -lt 15000 ] || fail 'words are not compressed'
[ "$(stat -c %s binary.strata)" -lt 6500 ] || fail 'random bytes take too much'
$compress - < words > piped.strata 2> err
same piped.strata words.strata
cat words | $compress - --out piped.strata --overwrite 2> err
same piped.strata words.strata
compress_text --restore - < piped.strata > back 2> err
same back words
cat piped.strata | compress_text --restore - --out - 2> err | cmp - words

# Two threads compress, and the header says so.
works compress_text --tiny --threads 2 words --out two_threads.strata
works compress_text --restore two_threads.strata --out back --overwrite
same back words

# Nothing is replaced unasked.
cp words.strata before
expect_error '"words.strata" exists already: --overwrite replaces it' $compress words
same words.strata before
expect_error '"words" exists already: --overwrite replaces it' compress_text --restore words.strata
works $compress words --overwrite
same words.strata before

# Altered files: each error names the file, and nothing is written.
size=$(stat -c %s longer.strata)
json=$(od -An -tu4 -j8 -N4 longer.strata | tr -d ' ')
first=$((8 + 4 + json + 8))  # the first block
second=$((first + 16 + $(od -An -tu4 -j$((first + 4)) -N4 longer.strata | tr -d ' ') + 8))
refused() {
  expect_error "$1" compress_text --restore bad.strata --out restored
  [ ! -e restored ] || fail "an altered file was restored: $1"
  expect_error "${1/\"bad.strata\"/standard input}" bash -c 'compress_text --restore - --out restored < bad.strata'
  [ ! -e restored ] || fail "an altered file was restored from a pipe: $1"
  [ -z "$(find . -name '*.tmp-*')" ] || fail "something is left behind: $(ls)"
}
# flip OFFSET: adds 1 to one byte
flip() {
  cp longer.strata bad.strata
  printf "\\x$(printf %02x $((($(od -An -tu1 -j$1 -N1 longer.strata) + 1) % 256)))" |
    dd of=bad.strata bs=1 seek=$1 conv=notrunc status=none
}
flip 3 && refused '"bad.strata" was not written by compress_text'
for at in 8 11 12 100 $((first - 1)); do flip $at && refused '; the file is good up to byte 0'; done
for at in $first $((first + 4)) $((first + 9)) $((first + 20)) $((second - 100)) $((second - 1)); do
  flip $at && refused "; the file is good up to byte $first"
done
for at in $second $((second + 6)) $((second + 60)); do flip $at && refused "; the file is good up to byte $second"; done
for at in 1 9 20 32; do flip $((size - at)) && refused "; the file is good up to byte $((size - 32))"; done
for length in 0 5; do head -c $length longer.strata > bad.strata && refused 'was not written by compress_text'; done
for length in 10 300 $((first - 1)); do
  head -c $length longer.strata > bad.strata && refused "\"bad.strata\": it ends after $length bytes, inside the header"
done
for length in $first $((first + 10)) $((second - 1)); do
  head -c $length longer.strata > bad.strata
  refused "\"bad.strata\": it ends after $length bytes, inside a block; the file is good up to byte $first"
done
for length in $second $((size - 32)) $((size - 1)); do
  head -c $length longer.strata > bad.strata && refused "\"bad.strata\": it ends after $length bytes, inside a block"
done
{ cat longer.strata; printf x; } > bad.strata
refused "\"bad.strata\": other bytes follow its end; the file is good up to byte $size"
cat words.strata words.strata > bad.strata
refused '"bad.strata": other bytes follow its end'

# Files that this program cannot restore, with a header that is whole.
expect_error 'cannot read "missing": No such file' $compress missing
expect_error 'cannot read ".": it is a directory' $compress .
expect_error 'cannot read "missing.strata": No such file' compress_text --restore missing.strata
expect_error '"words" was not written by compress_text' compress_text --restore words --out restored
expect_error 'cannot write "none/x": directory "none"' $compress words --out none/x

# Wrong options.
expect_error 'a file to compress or --restore FILE.strata is required' compress_text
expect_error 'a file to compress or --restore FILE.strata is required' compress_text words --restore words.strata
expect_error '--fast, --best and --tiny exclude each other' compress_text --fast --best words
expect_error 'leave out --fast' compress_text --fast --restore words.strata
expect_error 'the name of "words" does not end in .strata' compress_text --restore words
expect_error '--out must not be empty' $compress words --out ''
expect_error "--threads: expects a whole number from 0 to 1024, not '-1'" compress_text words --threads -1

# Ended in the middle: no file, or the old file.
text 400000 5 > long
for signal in INT TERM KILL; do
  for output in long.strata kept.strata; do
    printf old > kept.strata
    rm -f long.strata
    $compress long --out $output --overwrite > out 2> err &
    process=$!
    until [ -n "$(find . -name "$output.tmp-*")" ] || ! kill -0 $process 2> /dev/null; do sleep 0.01; done
    sleep 0.2
    kill -s $signal $process || fail "it ended before SIG$signal came: $(cat err)"
    code=0
    wait $process 2> /dev/null || code=$?
    [ $code = $((128 + $(kill -l $signal))) ] || fail "exit code $code after SIG$signal"
    [ ! -e long.strata ] || fail "half a file after SIG$signal"
    [ "$(cat kept.strata)" = old ] || fail "SIG$signal changed the old file"
    [ $signal = KILL ] || [ -z "$(find . -name '*.tmp-*')" ] || fail "SIG$signal left something behind: $(ls)"
  done
done
head -c 100 long > short
works $compress short --out long.strata
works $compress short --out kept.strata --overwrite
[ -z "$(find . -name '*.tmp-*')" ] || fail "leftovers of killed runs stay: $(ls)"
# The end of a wait for a pipe.
mkfifo pipe
$compress pipe --out from_pipe.strata 2> err &
process=$!
exec 3> pipe
sleep 0.3
kill -INT $process
code=0
wait $process || code=$?
exec 3>&-
[ $code = 130 ] && [ ! -e from_pipe.strata ] || fail "exit code $code of a wait for a pipe"
