# Every kind of bad input ends with a message that names it and an exit code other than 0, and loses nothing.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 8000 1 > text.txt
train="train_text --model tiny --sample-length 10 --threads 1"

# A text that cannot be used; no folder is made.
: > empty.txt
printf 'too short' > short.txt
mkdir folder
mkfifo pipe
no_text() {
  expect_error "$1" $train --steps 2 --out none --text "$2"
  [ ! -e none ] || fail "$2: a folder was made"
}
no_text 'cannot read "missing.txt": No such file or directory' missing.txt
no_text '"empty.txt": the text is empty' empty.txt
no_text '"short.txt": the training part has 8 bytes, but a sequence of length 64 needs 65' short.txt
no_text 'the folder "folder" has no files' folder
no_text 'cannot read "/dev/zero": it is a device' /dev/zero
no_text 'cannot read "pipe": it is a pipe' pipe
expect_error '--text is required' $train
head -c 300 text.txt > few.txt
no_text '"few.txt": the validation part has 30 bytes, but a sequence of length 64 needs 65' few.txt
cp text.txt secret.txt && chmod 000 secret.txt
if [ "$(id -u)" != 0 ]; then
  no_text 'cannot read "secret.txt": Permission denied' secret.txt
elif setpriv --reuid 65534 --clear-groups "$(command -v train_text)" --help > /dev/null 2>&1; then
  expect_error 'cannot read "secret.txt": Permission denied' \
    setpriv --reuid 65534 --clear-groups "$(command -v train_text)" --model tiny --text secret.txt --out none
else
  echo 'skipped: a text that may not be read, because root reads everything'
fi

# A folder that cannot be used.
train="$train --text text.txt"
expect_error '--out must not be empty' $train --out ''
expect_error 'cannot make the folder "text.txt": ' $train --out text.txt
expect_error 'cannot make the folder "text.txt/run": ' $train --out text.txt/run
expect_error 'there is no run to resume: "none/checkpoint.safetensors" does not exist' $train --resume --out none
[ ! -e none ] || fail 'a folder was made'

# A run is replaced only on request, and not before the new one has done a step.
works $train --steps 10 --out run
cp -r run before
untouched() { expect_error "$@" && same_folders run before; }
untouched '"run/checkpoint.safetensors" holds a run already: --resume continues it, --overwrite replaces it' \
  $train --steps 2 --out run
untouched '"short.txt": the training part' train_text --model tiny --text short.txt --overwrite --out run
untouched 'GB of memory with the weights, but this machine has' $train --overwrite --out run --batch 1000000000
untouched '; the same steps with --batch ' $train --overwrite --out run --batch 100000000
untouched 'not finite after step 1' $train --overwrite --out run --learning-rate 1e30

# Nonsense options: the message names the option and the value.
option() {
  local words=$1
  shift
  untouched "$words" $train --overwrite --out run "$@"
}
for number in batch steps length accumulation; do
  for value in 0 -1 1.5 many 99999999999999999999 ''; do
    option "--$number: expects a whole number from 1 to 1000000000000, not '$value'" --$number "$value"
  done
done
option "--sample-length: expects a whole number from 0 to 1000000, not '1000001'" --sample-length 1000001
for number in warmup evaluate-every evaluate-windows sample-every checkpoint-every; do
  option "--$number: expects a whole number from 0 to 1000000000000, not '-1'" --$number -1
done
for value in -1 100000; do
  untouched "--threads: expects a whole number from 0 to 1024, not '$value'" \
    train_text --text text.txt --overwrite --out run --threads $value
done
option "--seed: expects a whole number from 0 to 18446744073709551615, not '-1'" --seed -1
for value in nan inf -1 0 fast; do
  option "--learning-rate: expects a positive number, not '$value'" --learning-rate $value
  option "--epsilon: expects a positive number, not '$value'" --epsilon $value
  option "--seconds: expects a positive number, not '$value'" --seconds $value
done
for value in nan inf -1; do
  option "--clip: expects a number that is not negative, not '$value'" --clip $value
  option "--weight-decay: expects a number that is not negative, not '$value'" --weight-decay $value
done
for value in nan -1 1e9; do
  option "--final-fraction: expects a number from 0 to 1, not '$value'" --final-fraction $value
done
for value in nan 1 -0.1; do
  for number in validation-fraction beta1 beta2 embedding-dropout attention-dropout feed-forward-dropout; do
    option "--$number: expects a number from 0 to below 1, not '$value'" --$number $value
  done
done
option 'a batch of 1000000000000 texts of 64 tokens is more than 68719476736 tokens' --batch 1000000000000
option 'a batch of 1000000000 texts of 64 tokens needs' --batch 1000000000
option "a sequence of length 100000 needs 100001" --length 100000
option '--steps excludes --seconds' --steps 5 --seconds 5
option '--optimizer: sgd not in {adamw,adam,muon}' --optimizer sgd
option '--products: blas not in' --products blas
option "this model has no loss called 'accuracy'; it has: cross_entropy" --loss accuracy=1
option "--loss expects NAME=WEIGHT, not 'reconstruction'" --loss reconstruction
option "--loss expects NAME=WEIGHT, not 'reconstruction=much'" --loss reconstruction=much
for value in -1 nan inf; do
  option "the weight of loss 'reconstruction' must not be negative, but is $value" --loss reconstruction=$value
done
option "--loss gives the weight of 'reconstruction' twice" --loss reconstruction=1 --loss reconstruction=2
option '--prompt must not be empty' --prompt ''
option '--speed' --speed=3
option 'not expected: extra' --prompt a extra
option 'not expected: extra' --loss reconstruction=1 extra
option '--device cpu has no --precision half; it has: bfloat16 bfloat16_emulated float32' --precision half
option '--device: tpu not in {cpu,cuda}' --device tpu
if [ "$HAS_CUDA" = FALSE ]; then
  option '--device cuda: this program was built without CUDA' --device cuda
  untouched '--device cuda: this program was built without CUDA' \
    write_text --weights run/checkpoint.safetensors --prompt he --device cuda
fi
untouched "no model is called 'huge'; there are: tiny" train_text --model huge --text text.txt --overwrite --out run

# An error of the file system only.
mkdir -p no_file/weights.safetensors/folder
expect_error 'cannot remove' $train --steps 2 --out no_file

# A loss that is not finite.
expect_error 'at step ' $train --steps 200 --learning-rate 1000 --warmup 0 --out wild
grep -q 'is -\?\(nan\|inf\) at step .*; the last good checkpoint, of step 1, is "wild/checkpoint.safetensors"' err ||
  fail "$(cat err)"
works write_text --weights wild/checkpoint.safetensors --prompt he --length 5
cp wild/checkpoint.safetensors good
expect_error 'the last good checkpoint, of step 1, is "wild/checkpoint.safetensors"' $train --resume --out wild
same good wild/checkpoint.safetensors
expect_error 'after step 1; no checkpoint was written; no checkpoint of this run was written yet' \
  $train --learning-rate 1e30 --out worse

# A broken checkpoint, for both programs; neither changes it.
checkpoint=before/checkpoint.safetensors
mkdir broken
broken() {
  cp broken/checkpoint.safetensors kept
  expect_error "checkpoint.safetensors\": $1" write_text --weights broken/checkpoint.safetensors --prompt he
  expect_error "checkpoint.safetensors\": $1" $train --resume --out broken
  same kept broken/checkpoint.safetensors
}
size=$(wc -c < $checkpoint)
cut_at() { head -c "$1" $checkpoint > broken/checkpoint.safetensors; }
cut_at 0; broken '0 bytes are too few'
cut_at 7; broken '7 bytes are too few'
cut_at 8; broken 'the header claims'
cut_at 1000; broken 'the header claims'
cut_at 50000; broken 'tensor "'
cut_at $((size / 2)); broken 'tensor "optimizer.'
cut_at $((size - 1)); broken 'tensor "optimizer.'
{ cat $checkpoint && printf x; } > broken/checkpoint.safetensors; broken 'the last 1 of'
cp text.txt broken/checkpoint.safetensors; broken 'this is no safetensors file, but text that starts with'
claim() { { printf "$1" && tail -c +9 $checkpoint; } > broken/checkpoint.safetensors; }
claim '\x00\x00\x00\x40\x00\x00\x00\x00'; broken 'the header claims 1073741824 bytes'
claim '\x00\x00\x00\x00\x00\x00\x00\x80'; broken 'the header claims 9223372036854775808 bytes'
claim '\xff\xff\xff\xff\xff\xff\xff\xff'; broken 'the header claims 18446744073709551615 bytes'
claim '\x00\x00\x00\x00\x00\x00\x00\x00'; broken 'the header at offset 8'
claim '\x02\x00\x00\x00\x00\x00\x00\x00'; broken 'the header is not valid JSON'
edited() {
  sed "$1" $checkpoint > broken/checkpoint.safetensors
  different $checkpoint broken/checkpoint.safetensors
}
edited '1,/F32/s/"F32"/"F99"/'; broken 'tensor "'
edited 's/"token_emb.weight"/"other_emb.weight"/'
expect_error 'token_emb.weight' write_text --weights broken/checkpoint.safetensors --prompt he
expect_error 'token_emb.weight' $train --resume --out broken

for target in missing.safetensors folder; do
  expect_error "cannot read \"$target\": " write_text --weights $target --prompt he
done

# Values in the note of a run: note FROM TO MESSAGE. The header keeps its length.
note() {
  local old new
  old=$(grep -ao '\\"device\\":[^}]*\\"text_bytes[^}]*' $checkpoint | head -n 1)
  new=$(sed 's/\\"text_fingerprint[^,]*,//' <<< "$old")
  [[ $new == *"$1"* ]] || fail "the note has no $1: $new"
  printf -v new '%-*s' ${#old} "${new/"$1"/"$2"}"
  edited "s/${old//\\/\\\\}/${new//\\/\\\\}/"
  expect_error "\"broken/checkpoint.safetensors\": note: $3" $train --resume --out broken
}
note '\"threads\":1' '\"threads\":\"many\"' '"threads" is "many", but a whole number from 0 to'
note '\"threads\":1' '\"threads\":1.5' '"threads" is 1.5, but a whole number'
note '\"text_bytes\":' '\"text_bytes\":-' '"text_bytes" is -'
note '\"validation_fraction\":0.1' '\"validation_fraction\":7' '"validation_fraction" is 7, but a number from 0 to 0.99'
note '\"seconds_asked\":0.0' '\"seconds_asked\":-3' '"seconds_asked" is -3, but a number from 0 to'
note '\"device\":\"cpu\"' '\"device\":5' '"device" must be a text, but is 5'
edited 's/\\"step\\":10/\\"step\\":40/'
expect_error '"broken/checkpoint.safetensors": the run did 40 steps of only 10' $train --resume --out broken

# A run cannot go on from weights alone.
cp before/weights.safetensors broken/checkpoint.safetensors
expect_error 'holds the weights of a model, but no state of a training run' $train --resume --out broken

# A file that does not describe its model.
edited 's/"strata":/"atarts":/'
for how in --describe '--prompt he --weights'; do
  expect_error 'the file holds no description of its model' write_text $how broken/checkpoint.safetensors
done

# A checkpoint of another model: what differs, and in write_text the description as C++.
expect_error 'the file is of another model: depth is 2 in the file, but 4 in the model' \
  train_text --text text.txt --model two_minutes --resume --out run
edited 's/\\"depth\\":2/\\"depth\\":7/'
expect_error '"broken/checkpoint.safetensors": write_text has no model with the description in this file; add it to' \
  write_text --weights broken/checkpoint.safetensors --prompt he
grep -q '    \.depth = 7,$' err || fail "no description: $(cat err)"
expect_error 'the file is of another model: depth is 7 in the file, but 2 in the model' $train --resume --out broken

# Weights that are not numbers: the prompt's line ends before the message, which names the file.
header=$((8 + $(od -An -t u8 -N 8 before/weights.safetensors)))
{ head -c $header before/weights.safetensors &&
  tail -c +$((header + 1)) before/weights.safetensors | tr '\0-\377' '\377'; } > nan.safetensors
expect_error '"nan.safetensors": the logits of text 0 after position 1 are not numbers' \
  write_text --weights nan.safetensors --prompt he
[ ! -s out ] || fail "$(cat out)"
expect_error '"nan.safetensors": the logits after 1 byte are not numbers' \
  write_text --weights nan.safetensors --measure text.txt

# Nonsense for write_text.
printf x > one_byte.txt
write="write_text --weights $checkpoint"
expect_error '--prompt, --measure or --describe is required' $write
expect_error 'with --measure these options have no effect: --prompt' $write --prompt he --measure text.txt
expect_error 'with --measure these options have no effect: --length, --temperature, --threshold, --seed' \
  $write --measure text.txt --seed 1 --length 500 --temperature 0 --threshold 0.5
expect_error 'with --describe these options have no effect: --weights, --measure, --threads' \
  $write --describe text.txt --measure text.txt --threads 1
expect_error 'not expected: extra' $write --prompt he extra
expect_error '--format' $write --prompt he --format int4
expect_error '"one_byte.txt": a text to measure needs at least 2 bytes' $write --measure one_byte.txt
expect_error 'cannot read "missing.txt"' $write --measure missing.txt
expect_error 'cannot read ""' $write --measure ''
expect_error 'cannot read ""' write_text --describe ''
for options in '' '--prompt he'; do
  expect_error '--weights is required, except with --describe' write_text $options
done
expect_error '--prompt must not be empty' $write --prompt ''
expect_error '--prompt must not be empty' $write --prompt he --prompt ''
for value in -1 nan inf warm; do
  expect_error "--temperature: expects a number that is not negative, not '$value'" \
    $write --prompt he --temperature $value
done
for value in 2 -1 nan; do
  expect_error "--threshold: expects a number from 0 to 1, not '$value'" $write --prompt he --threshold $value
done
for value in -1 1000001 1000000000000000000000 1.5; do
  expect_error "--length: expects a whole number from 0 to 1000000, not '$value'" \
    $write --prompt he --length $value
done
expect_error "--threads: expects a whole number from 0 to 1024, not '-1'" $write --prompt he --threads -1
expect_error "--seed: expects a whole number" $write --prompt he --seed -1
if [ -e /dev/full ]; then
  expect_error 'cannot write to standard output' bash -c "$write --prompt he --length 5 > /dev/full"
  expect_error 'cannot write to standard output' bash -c "$train --steps 2 --out full > /dev/full"
fi
