# Texts of many files, of tokens, with documents, in mixtures and with a validation of their own; and texts that cannot
# be used.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 8000 1 > text.txt
mkdir -p books/more empty
split -b 9000 text.txt books/part_
text 500 2 > books/more/other.txt
train() { works train_text --model tiny --threads 1 --sample-length 5 --steps 4 --overwrite "$@"; }
uses() { grep -qF "$1" err || fail "not '$1': $(cat err)"; }

# Files, a folder, a pattern and a list.
train --out run --text text.txt
bytes=$(wc -c < text.txt)
uses "text text.txt: $((bytes * 9 / 10)) bytes for training, $((bytes - bytes * 9 / 10)) for validation"
train --out folder --text books
uses "text books, $(find books -type f | wc -l) files: "
train --out pattern --text 'books/part_*' --text books/more
uses 'text books/part_*, books/more, '
find books -name 'part_*' | sort > list
train --out listed --text @list --text books/more/other.txt
same pattern/weights.safetensors listed/weights.safetensors
different run/weights.safetensors folder/weights.safetensors

# Without ends of documents, the pieces of a text are the text.
train --out joined --text 'books/part_*' --documents none
same run/weights.safetensors joined/weights.safetensors
train --out standard_input --text - < text.txt
same run/weights.safetensors standard_input/weights.safetensors

# Tokens of 16 and 32 bits, with llm.c's header and without.
iconv -f LATIN1 -t UTF-16LE text.txt > text16.bin
iconv -f LATIN1 -t UTF-32LE text.txt > text32.bin
number() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24)))"; }
header() { number "$1" && number "$2" && number "$3" && head -c 1012 /dev/zero; }
{ header 20240520 1 "$bytes" && cat text16.bin; } > llm_c.bin
for file in text16:uint16 text32:uint32 llm_c:uint16; do
  train --out tokens --text "${file%:*}.bin" --tokens "${file#*:}"
  same run/weights.safetensors tokens/weights.safetensors
done

# Documents between separators, whole documents for validation, a validation of its own, mixtures.
train --out documents --text text.txt --documents separators --separator 10
different run/weights.safetensors documents/weights.safetensors
train --out hashed --text text.txt --documents separators --separator 10 --validation-documents
different documents/weights.safetensors hashed/weights.safetensors
train --out own --text text.txt --validation books/more
uses "$bytes bytes for training, $(wc -c < books/more/other.txt) for validation"
train --out mixed --text text.txt --text books/more --weight 3 --weight 1
different run/weights.safetensors mixed/weights.safetensors

# A run that was interrupted continues with the same rows, whatever they come from; another reading is refused.
for options in '--text books' '--text text.txt --documents separators --separator 10 --validation-documents' \
  '--text text.txt --text books/more --weight 3 --weight 1' '--text text16.bin --tokens uint16'; do
  run="train_text --model tiny --threads 1 --batch 2 --length 32 --sample-length 5 --checkpoint-every 10 --steps 80 $options"
  rm -rf whole
  works $run --out whole
  interrupt TERM 12 parts $run
  works $run --resume --out parts
  same whole/weights.safetensors parts/weights.safetensors
done
expect_error 'is on a text of' $run --text list --resume --out parts
works train_text --model tiny --steps 3 --sample-length 5 --text text.txt --out plain --threads 1
expect_error 'reads its text as bytes, documents: none, not as bytes, documents: separators 10' \
  train_text --model tiny --text text.txt --documents separators --separator 10 --resume --out plain
expect_error 'reads its text as bytes, documents: none, not as bytes, documents: none, validation:' \
  train_text --model tiny --text text.txt --validation books/more --resume --out plain

# What was noticed about a text is a note, and training goes on.
noticed() {
  train --out noted --text "$1"
  uses "note: \"$1\": $2"
}
gzip -k text.txt && noticed text.txt.gz 'is compressed by gzip'
noticed text16.bin 'has NUL bytes, so it is no text; it is read as bytes; if they are tokens, --tokens uint16'
noticed llm_c.bin 'holds uint16 tokens with the header of llm.c'
iconv -f LATIN1 -t UTF-16LE text.txt > wide.txt && noticed wide.txt 'looks like UTF-16'
sed 's/$/\r/' text.txt > crlf.txt && noticed crlf.txt 'has lines that end with CR LF'
! grep -q '^note: "text.txt"' err || fail "a notice of plain text: $(cat err)"

# Texts that cannot be used, and options that contradict each other. No folder is made.
refused() {
  local words=$1
  shift
  expect_error "$words" train_text --model tiny --steps 2 --out none "$@"
  [ ! -e none ] || fail "a folder was made for: $*"
}
refused 'the folder "empty" has no files' --text empty
refused 'no file matches "*.md"' --text '*.md'
refused '"text.txt" is given twice' --text text.txt --text text.txt
ln -s text.txt link.txt
refused 'are the same file' --text text.txt --validation link.txt
: > nothing && refused 'the list of files "nothing" is empty' --text @nothing
head -c 999 text16.bin > odd.bin
refused '"odd.bin": its 999 bytes are no whole number of uint16 tokens' --text odd.bin --tokens uint16
{ header 20240520 1 7 && cat text16.bin; } > wrong.bin
refused "\"wrong.bin\": its header counts 7 tokens, but $bytes follow" --text wrong.bin --tokens uint16
refused '"llm_c.bin": its header says uint16 tokens, not uint32' --text llm_c.bin --tokens uint32
printf 'x' > letter
refused '"letter": the validation part has 0 bytes, but a sequence of length 64 needs 65' --text text.txt --validation letter
refused 'there are 1 weights for 2 texts' --text text.txt --text books --weight 1
refused "--weight: expects a positive number, not '0'" --text text.txt --weight 0
refused "--weight: expects a positive number, not '-1'" --text text.txt --weight -1
refused '--documents separators and --separator belong together' --text text.txt --documents separators
refused '--validation and --validation-fraction contradict each other' --text text.txt --validation books \
  --validation-fraction 0.2
{ number 300 | head -c 2 && cat text16.bin; } > large.bin
refused '"large.bin": token 0, at byte 0, is 300, outside of the vocabulary of 256' --text large.bin --tokens uint16
