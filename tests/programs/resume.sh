# A run that was stopped, by SIGINT, SIGTERM or SIGKILL, continues with --resume bit for bit as if it had never stopped. Options
# that do not fit the run are refused.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 12000 1 > text.txt
tiny="train_text --text text.txt --model tiny"
for optimizer in adamw muon adam; do
  if [ $optimizer = adamw ]; then
    train="$tiny --threads 1" signals="INT TERM KILL"
  else
    train="$tiny --threads 2" signals=INT
  fi
  options="--steps 150 --batch 2 --length 32 --accumulation 2 --optimizer $optimizer --sample-length 20
    --checkpoint-every 10 --validation-fraction 0.2 --evaluate-every 50 --evaluate-windows 4"
  works $train $options --out whole

  for signal in $signals; do
    interrupt $signal 12 parts $train $options
    if [ $signal != KILL ]; then
      [ $code = $((128 + $(kill -l $signal))) ] || fail "exit code $code after SIG$signal: $(cat err)"
      grep -q 'stopped at step .* --resume continues from parts/checkpoint.safetensors' err || fail "$(cat err)"
    fi
    [ ! -e parts/weights.safetensors ] || fail "the run was through before SIG$signal"
    # --recompute belongs to the process, not to the run: it changes no bit.
    works $train $options --resume --out parts --recompute
    same whole/weights.safetensors parts/weights.safetensors
    steps_are_whole parts 150
    for folder in whole parts; do sed -E 's/"(seconds|tokens_per_second)":[^,}]*//g' $folder/metrics.jsonl > $folder.metrics; done
    same whole.metrics parts.metrics
  done
  rm -r whole
done

# A run that is done can be resumed: nothing is trained, and it stays as it is.
cp -r parts before
works $train $options --resume --out parts
grep -q '^the run is finished after 150 steps; a larger --steps lengthens it$' out || fail "$(cat out)"
! grep -q '^trained' out || fail "$(cat out)"
same parts/weights.safetensors before/weights.safetensors
same parts/metrics.jsonl before/metrics.jsonl

# An option that is given again must be the run's; the message holds both.
cp -r parts before_errors
refused() { expect_error "$@" --out parts --resume && same_folders parts before_errors; }
refused '--steps is 149, but the run in "parts/checkpoint.safetensors" has 150' $train --steps 149
refused '--attention-dropout is 0.5, but the run in "parts/checkpoint.safetensors" has 0' $train --attention-dropout 0.5
refused '--batch is 3, but the run in "parts/checkpoint.safetensors" has 2' $train --batch 3
refused '--length is 64, but the run in "parts/checkpoint.safetensors" has 32' $train --length 64
refused '--accumulation is 1, but' $train --accumulation 1
refused '--learning-rate is 0.1, but the run in "parts/checkpoint.safetensors" has 0.005' $train --learning-rate 0.1
refused '--decay is cosine, but the run in "parts/checkpoint.safetensors" has linear;' $train --decay cosine
refused '--optimizer is adamw, but the run in "parts/checkpoint.safetensors" has adam;' $train --optimizer adamw
refused '--clip is 2, but the run in "parts/checkpoint.safetensors" has 1' $train --clip 2
refused '--seed is 7, but the run in "parts/checkpoint.safetensors" has 1' $train --seed 7
refused '--validation-fraction is 0.1, but the run in "parts/checkpoint.safetensors" has 0.2' \
  $train --validation-fraction 0.1
refused '--seconds is 5, but the run in "parts/checkpoint.safetensors" has --steps 150' $train --seconds 5
refused 'leave out --loss' $train --loss reconstruction=0
refused '--resume and --overwrite contradict each other' $train --overwrite

# Another text, shorter or of the same length.
head -c 20000 text.txt > shorter.txt
refused "is on a text of $(wc -c < text.txt) bytes, but \"shorter.txt\" has 20000" \
  train_text --model tiny --text shorter.txt
tr 'th' 'ht' < text.txt > other.txt
refused 'is on another text of' train_text --model tiny --text other.txt
works $train --resume --out parts --steps 150 --batch 2 --optimizer adam --validation-fraction 0.2

# A finished run is made longer. Later commands need not repeat the length; the learning rate rises again.
works $train --resume --out parts --steps 200
grep -q '^note: the run had 150 steps and now ends after 200; its learning rate schedule follows$' err || fail "$(cat err)"
steps_are_whole parts 200
grep -a '"learning_rate"' parts/metrics.jsonl | sed 's/.*"learning_rate":\([^,]*\).*/\1/' |
  awk 'NR == 150 { end = $1 } NR == 151 { again = $1 } NR == 200 { last = $1 }
    END { exit !(again > 2 * end && last < 1.1 * end) }' || fail 'the learning rate does not follow'
[ "$(grep -ac validation_loss parts/metrics.jsonl)" = 4 ] || fail 'evaluations are missing'
cp parts/weights.safetensors lengthened
works $train --resume --out parts
same parts/weights.safetensors lengthened

# A checkpoint with heads of other losses: they are named.
mkdir heads
sed 's/compressors\.1\.to_recon/compressors.1.to_other/g' parts/checkpoint.safetensors > heads/checkpoint.safetensors
works $train --resume --out heads
grep '^note:' err | diff - <(printf '%s' 'note: the checkpoint is of a run with other losses: it lacks ' \
  'compressors.1.to_recon.weight, which keep their initialisation; it has compressors.1.to_other.weight, ' \
  $'which nothing uses here\n') || fail "not one note: $(cat err)"

# A run limited by time, stopped before its number of steps is known, goes on by time.
train="$tiny --threads 1"
interrupt INT 1 timed $train --seconds 2 --batch 2 --sample-length 5
expect_error '--steps is 99999, but the run in "timed/checkpoint.safetensors" has --seconds 2 and is not finished' \
  $train --resume --out timed --steps 99999
works timeout 100 $train --resume --out timed
expect_error '--seconds is 1, but the run in "timed/checkpoint.safetensors" has 2' \
  $train --resume --out timed --seconds 1

# A finished run limited by time gets more time, and then a number of steps.
done_steps=$(steps_of timed)
works $train --resume --out timed
grep -q "^the run is finished after $done_steps steps; a larger --steps or --seconds lengthens it\$" out || fail "$(cat out)"
works timeout 100 $train --resume --out timed --seconds 3
grep -q '^note: the run had --seconds 2 and now ends after 3; its learning rate schedule follows$' err || fail "$(cat err)"
[ "$(steps_of timed)" -gt "$done_steps" ] || fail 'more time trains nothing'
done_steps=$(steps_of timed)
expect_error "--steps is 1, but the run in \"timed/checkpoint.safetensors\" did $done_steps steps already" \
  $train --resume --out timed --steps 1
works $train --resume --out timed --steps $((done_steps + 5))
grep -q "^note: the run had --seconds 3, did $done_steps steps and now ends after $((done_steps + 5)); " err || fail "$(cat err)"
steps_are_whole timed $((done_steps + 5))

# A run ends when its time is over, also where a step takes longer than the time between two estimates of the steps.
works timeout 60 $train --seconds 1e-9 --batch 2 --sample-length 5 --out short
steps_are_whole short 1
works timeout 60 $train --seconds 0.3 --batch 8 --accumulation 20 --sample-length 5 --out long_steps

# Two processes do not train in one folder at once.
$train --steps 1000000 --out busy > /dev/null 2>&1 &
process=$!
trap 'kill -9 $process 2> /dev/null' EXIT
while [ "0$(steps_of busy)" -eq 0 ] && kill -0 $process; do sleep 0.05; done
expect_error 'another run is going on in the folder "busy"' $train --steps 5 --overwrite --out busy
