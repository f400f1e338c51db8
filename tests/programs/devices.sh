# The devices cpu and cuda train and generate alike, each continues the other's runs and refuses its options.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 300 1 > text.txt
tiny="train_text --text text.txt --model tiny --batch 2 --length 32 --sample-length 20"
train="$tiny --steps 20 --warmup 2 --validation-fraction 0.2 --evaluate-every 7 --evaluate-windows 2"
for device in cpu cuda; do works $train --device $device --out $device; done
grep -q 'tokens a step, device ' err || fail "the device is not named: $(cat err)"

# All numbers of the metrics except times, as key:value lines.
numbers() { grep -av '"sample"' "$1/metrics.jsonl" | tr '{},' '\n' | grep -a : | grep -avE '^"(seconds|tokens_per_second)"'; }
# Two files of key:value lines have the same keys and, to 1e-4 of each, the same values.
close_to() {
  paste -d: "$1" "$2" | awk -F: -v OFS=: '
    { far = $2 - $4; if (far < 0) far = -far; size = $4 < 0 ? -$4 : $4
      if (NF != 4 || $1 != $3 || !(far <= 1e-4 * size)) { print; wrong = 1 } }
    END { exit wrong || NR == 0 }' || fail "$1 and $2 differ"
}
agree() {
  for run in "$1" "$2"; do numbers $run > $run.numbers; done
  close_to $1.numbers $2.numbers
}
steps_are_whole cuda 20
agree cuda cpu

# Groups, growth, an average and the noise scale too.
options="--freeze layers.0.* --rate token_emb.*=0.5 --growth 12 --first-batch 1 --first-length 16 --average 0.9 --noise-scale"
set -f
for device in cpu cuda; do works $train $options --device $device --out of_parts_$device; done
set +f
agree of_parts_cuda of_parts_cpu
grep -q noise_scale of_parts_cuda/metrics.jsonl || fail 'no noise scale'

# A run that began on one device continues on the other.
interrupt INT 2 parts $train --device cuda
works $train --device cpu --resume --out parts
grep -q 'note: the run was on the device cuda and continues on cpu: it agrees to rounding only' err || fail "$(cat err)"
steps_are_whole parts 20
agree parts cpu
works $train --device cuda --resume --out parts
grep -q 'note: the run was on the device cpu and continues on cuda: it agrees to rounding only' err || fail "$(cat err)"
works $train --device cuda --resume --out parts
! grep -q 'note:' err || fail "$(cat err)"

# The same weights generate the same text, and predict as well.
head -c 60 text.txt > measured.txt
for weights in cpu/weights cuda/checkpoint; do
  for format in float32 int8; do
    for device in cpu cuda; do
      write="write_text --weights $weights.safetensors --device $device --format $format"
      works $write --temperature 0 --length 20 --prompt 'he was' && cp out $device.text
      works $write --measure measured.txt && sed 's/^/bits:/; s/ bits.*//' out > $device.bits
    done
    same cuda.text cpu.text
    close_to cuda.bits cpu.bits
  done
done

# Each device has its own precisions of matrix products.
works $train --device cuda --precision tf32 --out tf32
different tf32/weights.safetensors cuda/weights.safetensors
refused() { expect_error "$@" && [ ! -e none ] || fail 'a folder was made'; }
refused '--device cpu has no --precision tf32; it has: bfloat16 bfloat16_emulated float32' \
  $tiny --out none --precision tf32
refused '--device cuda has no --precision bfloat16_emulated; it has:' \
  $tiny --out none --device cuda --precision bfloat16_emulated
refused '--threads belongs to --device cpu, not to --device cuda' $tiny --out none --device cuda --threads 1
refused '--products belongs to --device cpu, not to --device cuda' $tiny --out none --device cuda --products own
refused '--device: tpu not in {cpu,cuda}' $tiny --out none --device tpu
expect_error '--threads belongs to --device cpu, not to --device cuda' \
  write_text --weights cpu/weights.safetensors --prompt he --device cuda --threads 1
