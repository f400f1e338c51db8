# What the scripts share. Each runs in its own empty folder; $PROGRAMS is the folder of the example programs.
export PATH="$PROGRAMS:$PATH"
export LC_ALL=C

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# Words in an order that depends on the seed: text WORDS SEED
text() {
  awk -v count="$1" -v x="$2" 'BEGIN {
    words = split("the of and to in he was that his with as had for she not at but be on they have him which by", word)
    for (n = 1; n <= count; ++n) {
      x = (x * 1103 + 12345) % 65536
      printf "%s%s", word[1 + int(x / 65536 * words)], n % 11 == 0 ? ".\n" : " "
    }
  }'
}

# Runs a command that must work; what it writes is in the files out and err.
works() {
  local code=0
  "$@" > out 2> err || code=$?
  [ $code = 0 ] && return
  cat out err >&2
  fail "exit code $code of: $*"
}

# Runs a command that must fail with exit code 1, not crash, and say why in one sentence that has the given words.
expect_error() {
  local words=$1 code=0
  shift
  timeout 120 "$@" > out 2> err || code=$?
  [ $code != 0 ] || fail "no error from: $*"
  # 124: out of time; above 128: a signal.
  if [ $code = 124 ] || [ $code -gt 128 ] || grep -aqE 'terminate called|Sanitizer|runtime error:' err; then
    cat err >&2
    fail "no orderly end, but exit code $code of: $*"
  fi
  [ $code = 1 ] && [ "$(grep -ac '^[a-z_]*: error: ' err)" = 1 ] && grep -aqF -- "$words" err && return
  cat err >&2
  fail "expected exit code 1 and '$words', but got code $code from: $*"
}

same() { cmp -- "$1" "$2" || fail "$1 and $2 differ"; }
different() { ! cmp -s -- "$1" "$2" || fail "$1 and $2 are the same"; }
same_folders() { diff -r -- "$1" "$2" || fail "$1 and $2 differ"; }

# How many training steps the metrics in a folder hold; 0 before there are any.
steps_of() { grep -ac '"learning_rate"' "$1/metrics.jsonl" 2> /dev/null || true; }

# Checks that the metrics hold each step from 1 to the given number once, in order: steps_are_whole FOLDER STEPS
steps_are_whole() {
  grep -a '"learning_rate"' "$1/metrics.jsonl" | grep -ao '"step":[0-9]*' | cut -d: -f2 > steps
  seq "$2" | diff - steps > /dev/null || fail "the steps in $1/metrics.jsonl are not 1 to $2: $(tr '\n' ' ' < steps)"
}

# Trains in a new folder and sends a signal once a number of steps is done: interrupt SIGNAL STEPS FOLDER COMMAND...
# The exit code is in $code.
interrupt() {
  local signal=$1 steps=$2 folder=$3 process attempt
  shift 3
  # On a busy machine a run may end before the signal comes.
  for attempt in 1 2 3; do
    rm -rf "$folder"
    "$@" --out "$folder" > out 2> err &
    process=$!
    while kill -0 $process 2> /dev/null && [ "$(steps_of "$folder")0" -lt "${steps}0" ]; do sleep 0.01; done
    kill -s "$signal" $process 2> /dev/null || true
    code=0
    wait $process 2> /dev/null || code=$?
    [ $code = 0 ] || return 0
  done
  fail "every attempt was through before SIG$signal came: $*"
}
