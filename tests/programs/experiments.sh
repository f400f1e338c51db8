# A small experiment is stopped, killed and continued, and ends like one that was never disturbed. Its table and its
# report hold every run. Settings that do not fit are refused.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 3000 1 > text.txt
names='flat_full two_levels_4'
fast="experiments --text text.txt --threads 1 --batch 1 --length 64 --warmup 5 --points 4 --evaluate-windows 2
  --sample-length 40"
both="$fast --only flat_full,two_levels_4 --seeds 2 --flops 4e10 --prompt <he>&"
rows() { tail -n +2 "$1/results.csv" | cut -d, -f"$2" | tr -d '"'; }

works experiments --list
cp out list
for name in flat_full flat_window two_levels_2 two_levels_4 three_levels hourglass merge_off; do
  grep -q "^  $name: .* 2.5[0-9] M parameters" out || fail "$name is not listed: $(cat out)"
done

# Two runs at a time, undisturbed.
works $both --jobs 2 --out whole
rows whole 1,2 | diff - <(for name in $names; do echo "$name,1" && echo "$name,2"; done) || fail "$(cat whole/results.csv)"
rows whole 3 | awk '!($1 > 1 && $1 < 8) { exit 1 }' || fail "these are no bits per byte: $(cat whole/results.csv)"
rows whole 8 | awk '!($1 > 3.8e10 && $1 <= 4e10) { exit 1 }' || fail "the budget was not used: $(cat whole/results.csv)"
rows whole 11 | awk '!($1 > 1e7 && $1 < 1e9) { exit 1 }' || fail "this is no memory: $(cat whole/results.csv)"
html=whole/report.html
grep -q '4 of 4 runs are done' $html && [ "$(grep -c '<circle[^>]*><title>' $html)" = 28 ] && [ "$(grep -c '^<svg view' $html)" = 4 ] ||
  fail "the report lacks runs or curves"
! grep -qE '<script|https?:|<he>' $html || fail 'the report needs other files, or holds text that is not escaped'
grep -q '&lt;he&gt;&amp;' $html || fail 'the prompt is not shown'
# Mean, deviation and the difference between runs of the same seed, computed again.
rows whole 3 | awk '{ x[NR] = $1 } END {
  a = x[3] - x[1]; b = x[4] - x[2]; root = sqrt(2)
  printf "%.4f &plusmn; %.4f\n", (x[1] + x[2]) / 2, (x[1] > x[2] ? x[1] - x[2] : x[2] - x[1]) / root
  printf "%+.4f &plusmn; %.4f\n", (a + b) / 2, (a > b ? a - b : b - a) / root }' > expected
while read -r words; do grep -qF "<td>$words</td>" $html || fail "the report does not say $words"; done < expected

# Stopped in the middle of the first run; killed in the middle of another, which also ends it; then continued.
wait_for() {
  for _ in $(seq 3000); do
    [ ! -e "$1" ] || return 0
    kill -0 $process 2> /dev/null || break
    sleep 0.01
  done
  fail "$1 does not come: $(cat err)"
}
$both --out parts > out 2> err &
process=$!
wait_for parts/runs/flat_full-1.safetensors
expect_error 'another run is going on in the folder "parts"' $both --out parts
kill -INT $process
code=0 && wait $process || code=$?
[ $code = 130 ] || fail "exit code $code after an interruption"
[ -e parts/runs/flat_full-1.safetensors ] || fail 'the run was through before it was interrupted'
grep -q '0 of 4 runs are done' parts/report.html || fail 'no report of an experiment without a run'

$both --out parts > out 2> err &
process=$!
wait_for parts/runs/two_levels_4-1.safetensors
grep -q 'flat_full with seed 1 is done' err && grep -q 'continued after step [1-9]' err || fail "not continued: $(cat err)"
children=$(pgrep -P $process)
kill -KILL $process && wait $process 2> /dev/null || true
for _ in $(seq 500); do grep -qs '^State:[[:space:]]*[^Z]' /proc/$children/status || break && sleep 0.01; done
! grep -qs '^State:[[:space:]]*[^Z]' /proc/$children/status || fail 'the run goes on without its experiment'
[ -e parts/runs/two_levels_4-1.safetensors ] || fail 'the run was through before it was killed'
grep -q '1 of 4 runs are done' parts/report.html || fail 'the report does not hold the run that is done'

works $both --out parts
grep -q '4 runs, 1 of them done' err && grep -q 'continued after step [1-9]' err || fail "not continued: $(cat err)"
same <(rows whole 1-8) <(rows parts 1-8)
[ -z "$(find parts -name '*.safetensors*')" ] || fail "checkpoints are left: $(ls parts/runs)"

# More seeds and configurations are added, existing runs stay; nothing is trained where nothing is missing.
cp -r parts before
works $both --out parts
same_folders parts before
one_more=${both/flat_full,two_levels_4/merge_off}
works ${one_more/--seeds 2/--seeds 1} --out parts
[ "$(rows parts 1 | grep -c merge_off)" = 1 ] || fail "$(cat parts/results.csv)"
grep -q '5 of 5 runs are done' parts/report.html || fail 'the report does not count all runs'
same <(head -5 parts/results.csv) before/results.csv
row() { grep "^\"$1\",$2," parts/results.csv | cut -d, -f"$3"; }
awk "BEGIN { exit !($(row merge_off 1 5) < 0.9 * $(row two_levels_4 1 5)) }" && [ "$(row merge_off 1 3)" != "$(row two_levels_4 1 3)" ] ||
  fail "merge_off is as two_levels_4: $(cat parts/results.csv)"
one_more=${both/--seeds 2/--seeds 3}
works ${one_more/flat_full,two_levels_4/merge_off} --out parts
rows parts 1,2 | grep merge | diff - <(printf 'merge_off,%s\n' 1 2 3) || fail "$(cat parts/results.csv)"

# Bytes that are no text are shown as signs.
cp -r parts bytes
sed -i '/"sample": \[/{n;s/[0-9]\+/255/;n;s/[0-9]\+/0/;n;s/[0-9]\+/60/;n;s/[0-9]\+/195/;n;s/[0-9]\+/182/}' bytes/runs/flat_full-1.json
works $both --out bytes
grep -a -A 1 '^<pre>' bytes/report.html | grep -aq $'^\xef\xbf\xbd\xe2\x90\x80&lt;\xc3\xb6' || fail 'no signs for bytes that are no text'

# Every configuration of the other tables trains and generates text, and is compared with the first of its table.
for table in losses variants; do
  works $fast --table $table --seeds 1 --flops 1e9 --out $table
  count=$(sed -n "/^$table:/,/^[^ ]/p" list | grep -c '^  ')
  [ "$count" -ge 8 ] && grep -q "$count of $count runs are done" $table/report.html || fail "not $count runs of $table"
done
grep -q '<th>difference to next_byte_alone</th>' losses/report.html || fail 'losses are not compared with none'
expect_error 'table is "levels", but the experiment in "losses" has "losses"' $fast --seeds 1 --flops 1e9 --out losses

# By time: time used before a stop counts.
timed="$fast --only two_levels_4 --seeds 1 --seconds 1.5 --out timed"
$timed > out 2> err &
process=$!
wait_for timed/runs/two_levels_4-1.safetensors
sleep 0.5
kill -TERM $process
code=0 && wait $process || code=$?
[ $code = 143 ] || fail "exit code $code after an interruption: $(cat err)"
works $timed
grep -qE 'continued after step [1-9].* and [0-9.]*[1-9][0-9]* seconds' err || fail "the time is lost: $(cat err)"
rows timed 9 | awk '!($1 > 1 && $1 < 3) { exit 1 }' || fail "not 1.5 seconds: $(cat timed/results.csv)"

# Settings of another experiment in the same folder: the sentence names what differs, and nothing changes.
cp -r parts before_errors
refused() { expect_error "$@" && same_folders parts before_errors; }
in_parts="$both --out parts"
refused 'batch is 3, but the experiment in "parts" has 1; all its runs have the same settings' ${in_parts/batch 1/batch 3}
refused 'flops is 50000000000.0, but the experiment in "parts" has 40000000000.0' ${in_parts/4e10/5e10}
refused 'learning_rate is 0.1, but the experiment in "parts" has 0.003' $in_parts --learning-rate 0.1
refused 'jobs is 2, but the experiment in "parts" has 1' $in_parts --jobs 2
text 3000 2 > other.txt
refused 'text_bytes is' ${in_parts/text.txt/other.txt}
tr e o < text.txt > other.txt
refused 'text_fingerprint is' ${in_parts/text.txt/other.txt}
sed -i 's/"dim": 224/"dim": 225/' parts/runs/flat_full-1.json
expect_error '"parts/runs/flat_full-1.json" is of another model than flat_full is now: /description/levels/0/dim is 225, not 224' $in_parts
sed -i 's/"dim": 225/"dim": 224/' parts/runs/flat_full-1.json
sed -i 's/"reconstruction": 0.1/"reconstruction": 0.2/' parts/runs/two_levels_4-1.json
expect_error '"parts/runs/two_levels_4-1.json" is of another model than two_levels_4 is now' $in_parts
echo '{' > parts/runs/flat_full-1.json
expect_error '"parts/runs/flat_full-1.json" is not JSON' $in_parts
echo '{}' > parts/experiment.json
expect_error 'experiment in "parts" has null' $in_parts

# Runs that cannot begin; no folder is made.
: > empty.txt
nothing() {
  expect_error "$@" --out none
  [ ! -e none ] || fail "a folder was made by: $*"
}
nothing "no table is called 'level'; there are: levels losses variants" $fast --seconds 1 --table level
nothing "in the table levels no configuration is called 'flat'; there are: flat_full flat_window" $fast --seconds 1 --only flat
nothing '"empty.txt": the text is empty' ${fast/text.txt/empty.txt} --seconds 1
nothing 'cannot read "missing.txt"' ${fast/text.txt/missing.txt} --seconds 1
nothing 'the validation part has' $fast --seconds 1 --validation-fraction 0.001
nothing 'a budget is required: --seconds or --flops' $fast
nothing 'excludes' $fast --seconds 1 --flops 1e12
nothing '--flops 1000 is less than the' $fast --flops 1000
nothing '--length 513 is more than the 512 bytes that flat_full is made for' ${fast/length 64/length 513} --seconds 1
nothing '--flops: expects a positive number' $fast --flops 1e30
nothing '--text is required' experiments --seconds 1
nothing '--prompt must be text in UTF-8' $fast --seconds 1 --prompt $'\xff'
nothing 'need 1000 processors, but this process may use' $fast --seconds 1 --pin --jobs 1000
nothing "--seeds: expects a whole number from 1 to 1000, not '0'" $fast --seconds 1 --seeds 0

# Only the chosen runs count.
works $fast --only two_levels_4 --seeds 1 --flops 8e8 --pin --out pinned
nothing '--flops 8e+08 is less than the' $fast --flops 8e8

# A failing run is named, with its reason, and does not harm the others.
mkdir -p failing/runs
echo 'no checkpoint' > failing/runs/flat_full-1.safetensors
expect_error '1 runs failed; the report has the others' ${both/seeds 2/seeds 1} --out failing
grep -q 'flat_full with seed 1 failed: .*flat_full-1.safetensors' err || fail "$(cat err)"
rows failing 1,2 | diff - <(echo two_levels_4,1) || fail "$(cat failing/results.csv)"
grep -q '1 of 2 runs are done' failing/report.html || fail 'the run that failed is not missed'
expect_error '2 runs failed' ${both/seeds 2/seeds 1} --out not_finite --learning-rate 1e30
grep -q 'flat_full with seed 1 failed: .*not finite' err || fail "$(cat err)"
