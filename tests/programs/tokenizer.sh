# Training on the tokens of SentencePiece: as text and as token files, resumed, written, and what does not fit.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

train_text --help > help
if ! command -v spm_train > /dev/null || ! grep -q tokens_1024 help; then
  echo 'spm_train or the model tokens_1024 is not there'
  exit 77
fi
docs=$(dirname "$0")/../../docs
cat "$docs"/model.md "$docs"/training.md "$docs"/experiments.md | tr -s '\n' ' ' > text.txt
exact='--normalization_rule_name=identity --add_dummy_prefix=false --remove_extra_whitespaces=false --byte_fallback'
tokenizer() {
  local name=$1 size=$2
  shift 2
  spm_train --input=text.txt --model_prefix="$name" --vocab_size="$size" --model_type=bpe --character_coverage=1 \
    --max_sentence_length=1000000 "$@" > spm 2>&1 || fail "$(cat spm)"
}
tokenizer whole 1024 $exact
tokenizer small 700 $exact
tokenizer changed 1024 --byte_fallback

# The model is the first with the tokenizer's vocabulary. Bits are per byte of the text.
train="train_text --threads 1 --batch 2 --length 64 --sample-length 5 --checkpoint-every 10"
works $train --text text.txt --tokenizer whole.model --steps 30 --evaluate-windows 0 --out run
grep -q '^model tokens_1024: ' err || fail "$(cat err)"
spm_encode --model=whole.model --output_format=id < text.txt > ids
tokens=$(wc -w < ids) bytes=$(wc -c < text.txt)
grep -qE "^text text.txt: ($((tokens * 9 / 10))|$((tokens - tokens / 10))) tokens for training" err || fail "not $tokens tokens: $(cat err)"
sed -n 's/^validation loss \([0-9.]*\) nats a token = \([0-9.]*\) bits per byte .*/\1 \2/p' out > losses
awk -v tokens="$tokens" -v bytes="$bytes" '{ ratio = $2 / ($1 / log(2) * tokens / bytes) } END { exit !(NR == 1 && ratio > 0.95 && ratio < 1.05) }' losses ||
  fail "nats and bits do not agree with $tokens tokens of $bytes bytes: $(cat out)"
same whole.model run/tokenizer.model

# Files of tokens are the same text.
perl -ne 'print pack("v*", split)' ids > ids.bin
works $train --text ids.bin --tokens uint16 --tokenizer whole.model --model tokens_1024 --steps 30 --out of_ids
same run/weights.safetensors of_ids/weights.safetensors
works $train --text ids.bin --tokens uint16 --model tokens_1024 --steps 2 --out numbers
grep -q 'bits per token' out || fail "bits of unknown text per byte: $(cat out)"
works write_text --weights numbers/weights.safetensors --prompt '5 17' --length 3
grep -qE '^5 17( [0-9]+){3}$' out || fail "no numbers: $(cat out)"

# A run keeps its tokenizer for later.
run="$train --text text.txt --steps 40"
interrupt TERM 12 parts $run --tokenizer whole.model
works $run --resume --out parts
works $run --tokenizer whole.model --out at_once
same at_once/weights.safetensors parts/weights.safetensors
works write_text --weights at_once/weights.safetensors --prompt 'The ' --length 20
grep -q '^The ' out || fail "$(cat out)"
head -c 2000 text.txt > part.txt
works write_text --weights run/weights.safetensors --measure part.txt
beside=$(cat out)
cp run/weights.safetensors alone.safetensors
works write_text --weights alone.safetensors --tokenizer whole.model --measure part.txt
[ "$beside" = "$(cat out)" ] || fail "$beside, but $(cat out)"
grep -q 'bits per byte' out || fail "$(cat out)"

# A tokenizer that changes the text is noticed.
works $train --text text.txt --tokenizer changed.model --steps 1 --out other
grep -q 'do not give back this text to the byte' err || fail "$(cat err)"

refused() {
  expect_error "$@" --out none
  [ ! -e none ] || fail 'a folder was made'
}
refused '"text.txt" is no tokenizer of SentencePiece' $train --text text.txt --tokenizer text.txt
refused 'cannot read "missing.model"' $train --text text.txt --tokenizer missing.model
refused 'no model has its vocabulary of 700 tokens; there are: tiny (256)' $train --text text.txt --tokenizer small.model
refused '"small.model": its vocabulary has 700 tokens, but that of the model 1024' \
  $train --text text.txt --tokenizer small.model --model tokens_1024
expect_error 'has the tokenizer ' $run --resume --out parts --tokenizer changed.model
expect_error '"small.model": its vocabulary has 700 tokens, but that of the model in "alone.safetensors" has 1024' \
  write_text --weights alone.safetensors --tokenizer small.model --prompt a
expect_error "'the' is no number of a token" write_text --weights alone.safetensors --prompt the
echo 5 99999999 > numbers.txt
expect_error '"numbers.txt": token 1 is 99999999, outside of the vocabulary of 1024' \
  write_text --weights alone.safetensors --measure numbers.txt
refused 'the model has a vocabulary of 1024 tokens: give' $train --text text.txt --model tokens_1024
refused "'It was' is no number of a token" $train --text ids.bin --tokens uint16 --model tokens_1024 --prompt 'It was'
refused '--prompt has the token 5000, outside of the vocabulary of 1024' \
  $train --text ids.bin --tokens uint16 --model tokens_1024 --prompt 5000

# The tokenizer of the folder itself survives its replacement, and a run from weights takes that beside them.
works $train --text text.txt --tokenizer run/tokenizer.model --out run --overwrite --steps 2
same whole.model run/tokenizer.model
works $train --text text.txt --from run/weights.safetensors --out tuned --steps 2
same whole.model tuned/tokenizer.model
grep -q '^model tokens_1024: ' err || fail "$(cat err)"
