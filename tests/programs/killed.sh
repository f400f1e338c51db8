# A run that writes its checkpoint and its best weights at every step is killed at many moments. Both are whole each time,
# and the run ends like one that was never killed.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 12000 1 > text.txt
train="train_text --text text.txt --model tiny --threads 1 --steps 200
  --batch 1 --length 16 --sample-length 20 --evaluate-every 1 --evaluate-windows 1"
works $train --checkpoint-every 0 --out whole

leftovers() { find run -name '*.tmp-*' | wc -l; }
in_the_middle=0
for n in $(seq 18); do
  resume=''
  [ ! -e run/checkpoint.safetensors ] || resume=--resume
  # The first few are killed while they start, the others once they have done another step.
  done_before=$(steps_of run)
  $train --checkpoint-every 1 $resume --out run > out 2> err &
  process=$!
  if [ "$n" -gt 3 ]; then
    while kill -0 $process 2> /dev/null && [ "$(steps_of run)0" -le "${done_before:-0}0" ]; do sleep 0.002; done
  fi
  sleep 0.0$((n % 2))$((n * 7 % 10))
  kill -KILL $process 2> /dev/null || fail "run $n ended by itself: $(cat out err)"
  wait $process 2> /dev/null || true

  [ -d run ] || continue
  [ ! -e run/best.safetensors ] || works write_text --weights run/best.safetensors --prompt 'he' --length 3
  [ "$(leftovers)" -le 1 ] || fail "leftovers pile up after kill $n: $(ls run)"
  in_the_middle=$((in_the_middle + $(leftovers)))
  if [ -e run/checkpoint.safetensors ]; then
    works write_text --weights run/checkpoint.safetensors --prompt 'he' --length 3
  elif [ -n "$resume" ]; then
    fail "the checkpoint is gone after kill $n"
  fi
done
[ -e run/checkpoint.safetensors ] || fail "no checkpoint after all kills"
echo "killed at $(steps_of run) of 200 steps in the end; $in_the_middle of 18 kills came while a file was being written"

works $train --checkpoint-every 1 --resume --out run
same run/weights.safetensors whole/weights.safetensors
same run/best.safetensors whole/best.safetensors
steps_are_whole run 200
[ "$(leftovers)" = 0 ] || fail "leftovers after the end: $(ls run)"
