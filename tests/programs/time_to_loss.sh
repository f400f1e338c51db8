# time_to_loss.py, with stand-ins for train_text and for Python with PyTorch: its tables, how it continues, its errors.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
if ! command -v python3 > /dev/null; then
  echo 'skipped: there is no python3'
  exit
fi
python=$(python3 -c 'import sys; print(sys.executable)')  # not a slow wrapper of it
script="$(cd "$(dirname "$0")" && pwd)/../../benchmarks/compare/time_to_loss.py"

# stand_in FILE LOSS: a program that says what train_text would say. It loses LOSS / budget, and a little by the seed.
stand_in() {
  cat > "$1" << END
#!/usr/bin/env bash
echo "\$0 \$*" >> '$PWD/calls'
while [ \$# -gt 0 ]; do
  case \$1 in --seconds) seconds=\$2 ;; --seed) seed=\$2 ;; esac
  shift
done
[ -z "\${BROKEN:-}" ] || { echo 'the first line' >&2; echo 'no memory is left' >&2; exit 3; }
[ -z "\${HANGS:-}" ] || { echo \$\$ > '$PWD/process'; exec sleep 60; }
echo 'a line before'
[ -z "\${SLOW:-}" ] || sleep 0.1
[ -n "\${SILENT:-}" ] || echo 'trained 7 steps in 0:02'
[ -z "\${SLOW:-}" ] || sleep 0.3
awk -v loss=$2 -v seconds=\$seconds -v seed=\$seed 'BEGIN {
  nats = loss / seconds + (seed - 2) / 100
  printf "validation loss %.4f nats a byte = %.4f bits per byte over 9 windows of 9; the order-0\n", nats, nats / log(2)
}'
[ -z "\${SILENT:-}" ] || exit 0
printf -- '--- sample ---\ntrained 1 step in 0:01\nvalidation loss 0.1 nats a byte = 0.1 bits per byte\n\377\n---\n'
END
  chmod +x "$1"
}
stand_in now 4
stand_in before 6
cat > python << END
#!/usr/bin/env bash
echo "\$*" >> '$PWD/calls'
seed=\${*: -1}
echo "{\"step\": 0, \"seconds\": 1.5, \"loss\": 4.2}"
echo "{\"step\": 100, \"seconds\": \$((10 + seed)), \"loss\": 1.9}"
echo "{\"step\": 200, \"seconds\": \$((20 + seed)), \"loss\": 1.7\$seed, \"final\": true}"
END
chmod +x python
text 100 1 > text.txt

measure="$python $script --text text.txt --seeds 3 --threads 1 --out results"
all="$measure --program now=./now --plain-gpt ./python --seconds 2,4 --targets 2,1.75,1"
has() { grep -qF -- "$1" out || { cat out >&2; fail "the tables lack: $1"; }; }

# Medians and half of the range; a loss in the sample does not count. Seconds are those of this machine.
works $all --program 'before=./before --model "a b"'
cp out first
sed -i -E '/now|before/s/ [0-9.]+ s \|/ wall |/g' out
has '| | 2 s | 4 s |'
has '| now | 2.000 ± 0.010 | 1.000 ± 0.010 |'
has '| before | 3.000 ± 0.010 | 1.500 ± 0.010 |'
has '| | 2 nats | 1.75 nats | 1 nats | best, nats a byte |'
has '| now | wall | wall | wall | 1.000 after wall |'
has '| before | wall | wall | - | 1.500 after wall |'
has '| plain GPT | 12.0 s | 22.0 s | - | 1.720 after 22 s |'
grep -qF -- '--model a b --text text.txt --seconds 4 --seed 3 --threads 1 --out ' calls || fail "$(cat calls)"
# In turn: budgets within seeds, programs within budgets.
sed -E 's/^..(.).*--seconds ([0-9]+) --seed ([0-9]+).*/\1\2-\3/; s/.*plain_gpt.*--seed /gpt-/' calls | xargs > order
echo n2-1 b2-1 gpt-1 n4-1 b4-1 n2-2 b2-2 gpt-2 n4-2 b4-2 n2-3 b2-3 gpt-3 n4-3 b4-3 | diff order - || fail 'wrong order'

# The same command runs nothing again and prints the same; one more seed runs that seed alone.
: > calls
works $all --program 'before=./before --model "a b"'
same out first
[ ! -s calls ] || fail "a finished run was repeated: $(cat calls)"
works ${all/seeds 3/seeds 4}
[ "$(grep -c -- '--seed 4' calls)" = 3 ] && [ "$(wc -l < calls)" = 3 ] || fail "$(cat calls)"

# A line that was cut by a kill is dropped, and only its run is repeated.
head -c -20 results/results.jsonl > cut
mv cut results/results.jsonl
: > calls
works ${all/seeds 3/seeds 4}
[ "$(wc -l < calls)" = 1 ] && [ "$(wc -l < results/results.jsonl)" = 18 ] || fail "$(cat calls)"

# Between budgets, from known seconds: half of the way in the logarithm from 10 to 40.
sed -i -E 's/("budget": 2.0.*"seconds": )[0-9.]+/\110/; s/("budget": 4.0.*"seconds": )[0-9.]+/\140/' \
  results/results.jsonl
works $measure --program now=./now --seconds 4,2 --targets 1.5,0.5 --interpolate --bits
has '| now | 20.0 s | - | 1.443 after 4 s |'
has '| now | 2.885 ± 0.014 | 1.443 ± 0.014 |'
works $measure --program now=./now --seconds 4,2 --targets 1.5
has '| now | 40.0 s | 1.000 after 4 s |'

# Seconds end where the training does. An evaluation of 0.3 s follows.
from=$(date +%s.%N)
SLOW=1 works $measure --program now=./now --seeds 1 --seconds 2 --out slow
seconds=$(grep -o '"seconds": [0-9.]*' slow/results.jsonl | cut -d' ' -f2)
awk -v trained=$seconds -v from=$from -v to=$(date +%s.%N) \
  'BEGIN { exit !(trained >= 0.1 && trained <= to - from - 0.3) }' ||
  fail "$seconds s are not those of the training"

# An interruption ends the program that runs.
HANGS=1 $measure --program now=./now --out interrupted 2> err &
while kill -0 $! && [ ! -s process ]; do sleep 0.01; done
kill $!
! wait $! || fail 'an interruption is not an error'
grep -q 'error: interrupted; the same command continues' err || fail "$(cat err)"
! kill -0 $(cat process) 2> /dev/null || fail 'the program still runs'

# Errors: one sentence. Nothing is run before the names and files are right.
: > calls
fails() {
  expect_error "$@"
  [ "$(wc -l < err)" = 1 ] || fail "more than a sentence: $(cat err)"
}
fails 'other: "./missing" cannot be started' $all --program other=./missing
fails 'plain GPT: "./no_python" cannot be started' ${all/.\/python/.\/no_python}
fails 'cannot read "missing.txt": No such file or directory' ${all/text.txt/missing.txt}
fails "--program expects NAME=COMMAND, not './now'" $all --program ./now
fails "--program expects NAME=COMMAND, not 'now='" $all --program now=
fails "--program 'x=\"' cannot be read: No closing quotation" $all --program 'x="'
fails "two programs are called 'now'" $all --program now=./before
fails 'there is nothing to run' $measure
fails "argument --seconds: expects positive numbers between commas, not '5,-1'" $all --seconds 5,-1
fails '"results/results.jsonl" holds runs of now with another number of threads' ${all/threads 1/threads 2}
fails '"results/results.jsonl" holds runs of now with another command' $measure --program now=./before
[ ! -s calls ] || fail "a program ran: $(cat calls)"
BROKEN=1 fails 'now: exit status 3; it said: no memory is left' ${all/results/none}
SILENT=1 fails "now: its output has no line 'trained .. steps in ..'" ${all/results/none}
[ ! -s none/results.jsonl ] || fail 'a failed run was kept'
echo >> now
fails '"results/results.jsonl" holds runs of now with another build of its program' $all
echo '{' >> results/results.jsonl
fails '"results/results.jsonl": line 19 is no result' $all
