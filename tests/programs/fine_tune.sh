# Training that starts with weights: it begins where they ended, keeps frozen parameters, and keeps the best weights.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 12000 1 > text.txt
text 3000 9 > other.txt
tiny="train_text --threads 1 --sample-length 5"
works $tiny --model tiny --text text.txt --steps 80 --evaluate-every 20 --evaluate-windows 0 --out first
loss=$(sed -n 's/^validation loss \([0-9.]*\) .*/\1/p' out)

# The loss starts where it ended. The model is the file's.
works $tiny --text text.txt --from first/weights.safetensors --steps 1 --learning-rate 1e-9 --muon-learning-rate 1e-9 \
  --evaluate-windows 0 --out same
grep -q "^start: validation $loss nats" err || fail "not $loss at the start: $(cat err)"
grep -q '^model tiny: ' err || fail "$(cat err)"
works $tiny --text text.txt --from first/checkpoint.safetensors --steps 1 --evaluate-windows 0 --out of_checkpoint
grep -q "^start: validation $loss nats" err || fail "not $loss at the start: $(cat err)"

# Another text, another length; some layers frozen, some slower. The frozen ones keep their bits.
works $tiny --text other.txt --from first/weights.safetensors --steps 20 --length 40 --batch 2 --out tuned \
  --freeze 'layers.0.*' --freeze token_emb.weight --rate 'layers.1.*=0.5' --weight-decay-of '*=0.2'
# The bytes of a tensor: its offsets stand in the header.
tensor() {
  local header size range
  size=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  header=$(head -c $((8 + size)) "$1" | tail -c "$size")
  range=$(grep -o "\"$2\":{[^}]*}" <<< "$header" | sed 's/.*"data_offsets":\[\([0-9]*\), *\([0-9]*\)\].*/\1 \2/')
  set -- "$1" $range
  head -c $((8 + size + $3)) "$1" | tail -c $(($3 - $2))
}
names=$(head -c 20000 first/weights.safetensors | grep -aoE '"(layers\.[01]\.[a-z0-9_.]*|token_emb)\.weight"' | tr -d '"' | sort -u)
for name in $names; do
  tensor first/weights.safetensors "$name" > before
  tensor tuned/weights.safetensors "$name" > after
  [ -s before ] || fail "no tensor $name"
  case $name in
    layers.0.* | token_emb.weight) same before after ;;
    *) different before after ;;
  esac
done
[ "$(grep -c . <<< "$names")" -gt 10 ] || fail "too few names: $names"
# A rate of 0 is no change; a weight decay is one.
works $tiny --text other.txt --from first/weights.safetensors --steps 5 --rate '*=0' --out still
works $tiny --text other.txt --from first/weights.safetensors --steps 5 --out usual
works $tiny --text other.txt --from first/weights.safetensors --steps 5 --weight-decay-of '*=3' --out decayed
tensor first/weights.safetensors token_emb.weight > before && tensor still/weights.safetensors token_emb.weight > after
same before after
different usual/weights.safetensors decayed/weights.safetensors
# A resumed run keeps its groups.
works $tiny --text other.txt --out tuned --resume --steps 25
tensor tuned/weights.safetensors token_emb.weight > after && tensor first/weights.safetensors token_emb.weight > before
same before after

# The best weights of the evaluations on the way.
[ -s first/best.safetensors ] || fail 'no best weights'
works $tiny --model tiny --text text.txt --steps 60 --learning-rate 0.02 --muon-learning-rate 0.3 --warmup 0 --evaluate-every 10 \
  --evaluate-windows 0 --final-fraction 1 --out wild
best=$(sed -n 's/^best .* of step \([0-9]*\): validation \([0-9.]*\) nats$/\2/p' out)
least=$(grep -ao '"validation_loss":[0-9.]*' wild/metrics.jsonl | cut -d: -f2 | sort -g | head -n 1)
awk -v best="$best" -v least="$least" 'BEGIN { exit !(best > 0 && best - least < 1e-4 && least - best < 1e-4) }' ||
  fail "the best is $best, but the least validation loss $least: $(cat out)"
works $tiny --text text.txt --from wild/best.safetensors --steps 1 --evaluate-windows 0 --out of_best
grep -q "^start: validation $best nats" err || fail "not $best at the start: $(cat err)"
# An average of the weights goes on after a pause, without a word.
run="$tiny --model tiny --text text.txt --steps 40 --average 0.9 --checkpoint-every 10"
works $run --out whole
interrupt TERM 12 parts $run
works $run --resume --out parts
! grep -q 'other losses' err || fail "$(cat err)"
same whole/average.safetensors parts/average.safetensors
different whole/average.safetensors whole/weights.safetensors

# What cannot be.
refused() {
  local words=$1
  shift
  expect_error "$words" $tiny --text text.txt --steps 2 --out none "$@"
  [ ! -e none ] || fail "a folder was made for: $*"
}
refused 'cannot read "missing.safetensors": No such file or directory' --from missing.safetensors
refused 'the file is of another model' --from first/weights.safetensors --model two_minutes
refused 'no parameter has a name like "layer.*"' --model tiny --freeze 'layer.*'
refused "--rate expects PATTERN=FACTOR, not 'layers'" --model tiny --rate layers
refused 'the rate of the parameters "*" must be a finite number that is not negative, not -1' --model tiny --rate '*=-1'
expect_error '--from and --resume contradict each other' $tiny --text text.txt --out first --resume --from first/weights.safetensors
expect_error 'a resumed run keeps its groups' $tiny --text text.txt --out first --resume --freeze '*'
works $tiny --model two_minutes --text text.txt --from first/weights.safetensors --matching --steps 1 --batch 1 --length 16 --out matched
grep -q "^note: \"first/weights.safetensors\": tensor 'token_emb.weight' has shape" err || fail "$(cat err)"
