# write_text shows where positions of coarse levels begin: with bars in a pipe, in colours on a terminal, and as a page.
# Models that follow the text train, write, and go on with their checkpoints.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

text 3000 1 > text.txt
fast='--length 64 --batch 2 --threads 1 --evaluate-windows 2 --sample-length 20'
for model in words learned; do
  works train_text --text text.txt --model $model --steps 6 --out $model $fast
  works train_text --text text.txt --model $model --steps 3 --out half $fast --overwrite
  works train_text --text text.txt --resume --steps 6 --out half $fast
  [ "$(steps_of half)" = 6 ] || fail "$model does not go on: $(cat err)"
  works write_text --weights $model/weights.safetensors --prompt 'the cat sat' --length 5 --threads 1
  [ "$(head -c 11 out)" = 'the cat sat' ] || fail "$model writes: $(cat out)"
done
grep -q '"boundary_ratio"' learned/metrics.jsonl || fail 'no loss that holds boundaries apart'
! grep -q '"reconstruction"' words/metrics.jsonl || fail 'words has heads of losses'

# Words end before their first byte that is no letter.
show="write_text --weights words/weights.safetensors --threads 1 --length 0 --levels"
works $show --prompt 'one two, three.'
[ "$(cat out)" = 'one| two|, three|.' ] || fail "the words are: $(cat out)"
grep -q '^level 1, word_starts: 4 positions of 3.8 tokens each$' err || fail "$(cat err)"
works $show --prompt 'a b' --prompt 'cd e'
printf 'a| b\ncd| e\n' | diff - out || fail "two texts are: $(cat out)"
works write_text --weights words/weights.safetensors --threads 1 --length 4 --levels --prompt 'one two'
[ "$(tr -d '|' < out | head -c 7)" = 'one two' ] && [ "$(tr -d '|' < out | wc -c)" = 12 ] || fail "what is written is not shown: $(cat out)"
works write_text --weights learned/weights.safetensors --threads 1 --length 0 --levels --prompt 'one two, three.'
[ "$(tr -d '|' < out)" = 'one two, three.' ] || fail "the text is changed: $(cat out)"

# A page escapes the text and needs no other file.
works $show --prompt '<b>&' --html page.html
grep -q '&lt;b' page.html && ! grep -qE '<script|https?:|<b>&' page.html || fail 'the page does not escape its text'
grep -q 'level 1, word_starts' page.html || fail 'the page does not name its levels'
[ ! -s out ] || grep -q '^page page.html$' out || fail "$(cat out)"

# A terminal gets colours, which change where a position begins.
works script -qec "$show --prompt 'one two'" /dev/null
grep -q $'\033\\[30;48;5;153m' out && grep -q $'\033\\[30;48;5;223m' out || fail 'no colours on a terminal'

expect_error '--html requires --levels' write_text --weights words/weights.safetensors --prompt a --html page.html
expect_error 'cannot write' $show --prompt a --html missing/page.html
