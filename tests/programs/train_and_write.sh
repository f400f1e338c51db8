# Training learns and writes its files. Generation is reproducible, greedy or not, for any number and length of prompts.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 20000 1 > text.txt
works train_text --text text.txt --model tiny --threads 1 --steps 150 --evaluate-every 50 \
  --sample-every 75 --sample-length 40 --out run
for file in checkpoint weights; do [ -s run/$file.safetensors ] || fail "no $file"; done
grep -q '^validation loss .* nats a byte = .* bits per byte over \([0-9]*\) windows of \1; the order-0 entropy of the text is' out ||
  fail "$(cat out)"
awk '/^validation loss/ { model = $8; order0 = $24 + 0; exit !(model > 0 && model < 0.6 * order0) }' out ||
  fail "validation is not well below the order-0 entropy: $(cat out)"
[ "$(grep -c '^--- sample at step' err)" = 1 ] || fail "not one sample on the way: $(cat err)"
[ "$(grep -c '^step .*: validation' err)" = 2 ] || fail "not two evaluations on the way: $(cat err)"

# Metrics: each line is an object of numbers and strings, every step is there, and the loss falls.
value='(-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|"([^"\\]|\\.)*")'
! grep -avE "^\{\"[a-z0-9_./]+\":$value(,\"[a-z0-9_./]+\":$value)*\}\$" run/metrics.jsonl || fail "this is not a JSON object"
steps_are_whole run 150
grep -a '"learning_rate"' run/metrics.jsonl | sed 's/.*"loss":\([^,}]*\).*/\1/' |
  awk '{ if (NR <= 10) first += $1; if (NR > 140) last += $1 } END { exit !(last < 0.7 * first) }' ||
  fail "the loss did not fall"

write() { works write_text --threads 1 --weights run/checkpoint.safetensors --length 60 "$@"; }
write --prompt 'he was' --seed 1 && cp out first
[ "$(wc -c < first)" = 67 ] && grep -q '^he was' first || fail "not the prompt and 60 bytes: $(cat first)"
write --prompt 'he was' --seed 1 && same first out
write --prompt 'he was' --seed 2 && different first out
works write_text --threads 1 --weights run/weights.safetensors --length 60 --prompt 'he was' --seed 1 && same first out

write --prompt 'he was' --temperature 0 --seed 1 && cp out greedy1
write --prompt 'he was' --temperature 0 --seed 2 && same greedy1 out
write --prompt 'she had not ' --temperature 0 && cp out greedy2
write --prompt 'he was' --prompt 'she had not ' --temperature 0
{ echo '--- 1 ---' && cat greedy1 && echo '--- 2 ---' && cat greedy2; } > both
same both out

prompt=$(head -c 333 text.txt | tr '\n' ' ')
write --prompt "$prompt"
[ "$(wc -c < out)" = 394 ] || fail "a prompt longer than max_length gave: $(cat out)"
works write_text --threads 1 --weights run/weights.safetensors --prompt x --length 0
echo x > x && same x out

# Packed weights generate as much, and predict nearly as well.
write --prompt 'he was' --format int8
[ "$(wc -c < out)" = 67 ] || fail "not the prompt and 60 bytes: $(cat out)"
head -c 20000 text.txt > measured.txt
measure() { works write_text --threads 1 --weights run/weights.safetensors --measure measured.txt "$@"; }
measure && cp out float32
for format in bfloat16 int8; do
  measure --format $format
  cat float32 out | awk '{ bits[NR] = $1 } END { exit !(bits[1] > 0 && bits[1] < 8 && bits[2] - bits[1] < 0.01) }' ||
    fail "$format: $(cat float32 out)"
done

# The description of weights or a checkpoint is printed as C++.
describe() { works write_text --describe "$1" && cp out $2.described; }
describe run/weights.safetensors weights && describe run/checkpoint.safetensors checkpoint
cat > expected <<'end'
inline constexpr strata::description model{
    .max_length = 64,
    .depth = 2,
    .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 16},
               {.compression = 2, .dim = 48, .heads = 2, .head_dim = 16, .window = 16}}};
end
same expected weights.described
same <(sed 's/description weights/description checkpoint/' expected) checkpoint.described

# Several texts, and a long prompt, show a bar. An interruption keeps what was generated: interrupt_write FILE WORDS ...
interrupt_write() {
  local file=$1 words=$2 process
  shift 2
  : > out
  : > err
  write_text --threads 1 --weights run/weights.safetensors "$@" > out 2> err &
  process=$!
  while kill -0 $process 2> /dev/null && ! grep -aq "$words" $file; do sleep 0.05; done
  kill -s INT $process || fail "it ended by itself: $(cat err)"
  code=0
  wait $process || code=$?
  [ $code = 130 ] || fail "exit code $code after SIGINT: $(cat err)"
}
interrupt_write out 'he.*' --prompt he --length 1000000
[ "$(tail -c 1 out | wc -l)" = 1 ] || fail "the line is not ended: $(cat out)"
interrupt_write err '\] [0-9]*/1000003 bytes of each text' --prompt he --prompt she --length 1000000
[ "$(grep -c '^--- [12] ---$' out)" = 2 ] && [ "$(wc -c < out)" -gt 100 ] || fail "what was generated is lost: $(cat out)"
interrupt_write err '\] [0-9]*/60001 bytes of the text' --prompt "$(head -c 60000 text.txt | tr '\n' ' ')" --length 1

# Less usual ways to train.
quick() { works train_text --text text.txt --model tiny --batch 2 --sample-length 5 "$@"; }
quick --steps 3 --validation-fraction 0 --evaluate-every 1 --out no_validation
quick --steps 3 --loss reconstruction=0 --loss level_autoregressive=0.5 --length 33 --out losses
grep -q '^note: the warm-up of 100 steps is longer than the run of 3: ' err || fail "$(cat err)"
quick --steps 3 --optimizer adam --clip 0 --warmup 0 --checkpoint-every 0 --threads 2 --products own --out adam
quick --seconds 1 --out seconds

# Without a model, --seconds takes a suggestion but for the options that are given, and --resume the model of the run.
works train_text --text text.txt --threads 2 --seconds 1 --batch 1 --length 100 --sample-length 5 --out suggested
grep -qE '^model half_minute, suggested for 1 s on 2 threads and [0-9]+ bytes: ' err && grep -q '^1 x 100 tokens' err ||
  fail "$(cat err)"
grep -aqE 'optimizer[\\":]+muon' suggested/checkpoint.safetensors || fail 'not the suggested options'
# A text from a pipe is read once.
works train_text --text <(cat text.txt) --threads 2 --seconds 1 --batch 1 --length 100 --sample-length 5 --out piped
works train_text --text text.txt --resume --out suggested
grep -q '^model half_minute: ' err && grep -q '^the run is finished' out || fail "$(cat out err)"
works train_text --text text.txt --resume --out run --steps 151 --threads 1
grep -q '^model tiny: ' err && grep -q '^trained 151 steps' out || fail "$(cat out err)"

# Dropout changes the weights, and each kind of dropout does so in its own way.
quick --steps 3 --out plain
for place in embedding attention feed-forward; do
  quick --steps 3 --$place-dropout 0.5 --out $place
  for other in plain embedding attention feed-forward; do
    [ $other = $place ] || [ ! -e $other ] || different $place/weights.safetensors $other/weights.safetensors
  done
done

# The last evaluation uses as many windows as it says.
windows() { quick --steps 2 --length 16 "$@" --overwrite --out windows && sed -n 's/.* over \(.* windows of .*\);.*/\1/p' out; }
all=$(windows --evaluate-windows 0 | sed 's/ windows.*//')
[ "$all" -gt 300 ] || fail "not all windows: $(cat out)"
[ "$(windows)" = "256 windows of $all" ] && [ "$(windows --evaluate-windows 5)" = "5 windows of $all" ] || fail "$(cat out)"

# On a terminal there is a bar.
if [ -n "$(command -v script)" ]; then
  works script -qec "train_text --text text.txt --model tiny --steps 2 --batch 1 --validation-fraction 0.9 --evaluate-windows 0 \
    --sample-length 5 --out bar" /dev/null
  grep -aq '\] validation [0-9]*/[0-9]* ' out || fail "no bar: $(cat out)"
else
  echo 'skipped: the bar of the last evaluation, because there is no program script'
fi

# Both programs print the backend's messages.
quick --steps 1 --threads $(($(nproc) + 1)) --out threads
grep '^note: .* threads were asked for, but this process has ' err > notes || fail "no note: $(cat err)"
works write_text --weights threads/weights.safetensors --prompt he --length 1 --threads $(($(nproc) + 1))
grep '^note: ' err | diff notes - || fail 'other notes than those of train_text'
