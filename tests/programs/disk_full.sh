# A disk that cannot take a new checkpoint: the error names file and reason, and the old files stay and load.
set -euo pipefail
# What this script mounts disappears with its own mount namespace.
if [ -z "${own_mounts-}" ]; then
  for how in --mount --map-root-user\ --mount; do
    ! unshare $how true 2> /dev/null || own_mounts=yes exec unshare $how bash "$0"
  done
fi
. "$(dirname "$0")/lib/common.sh"

text 12000 1 > text.txt
train="train_text --text text.txt --model tiny --threads 1"
options="--steps 300 --batch 2 --length 32 --sample-length 20 --checkpoint-every 5"
works $train $options --out whole
interrupt INT 20 run $train $options
cp -r run before

limited="bash limited.sh"
echo 'ulimit -f 1000 && exec "$@"' > limited.sh
unharmed() {
  same $1/checkpoint.safetensors before/checkpoint.safetensors
  [ "$(find $1 -name '*.tmp-*' | wc -l)" = 0 ] || fail "something is left behind: $(ls $1)"
  works write_text --weights $1/checkpoint.safetensors --prompt he --length 5
}

expect_error 'cannot write "run/checkpoint.safetensors": File too large; the last good checkpoint, of step ' \
  $limited $train --resume --out run
unharmed run
works $train --resume --out run
same run/weights.safetensors whole/weights.safetensors
steps_are_whole run 300

expect_error 'cannot write "new/checkpoint.safetensors": File too large; no checkpoint of this run was written yet' \
  $limited $train --out new

# The run that was to be overwritten is still there, all of it.
cp -r run done_before
expect_error 'cannot write "run/checkpoint.safetensors": File too large' $limited $train --overwrite --out run
same_folders run done_before

# The same on a disk that is really full.
mkdir disk
if [ -z "${own_mounts-}" ] || ! mount -t tmpfs -o size=3m none disk 2> /dev/null; then
  echo 'skipped: a disk that is really full, because mounting one is not permitted here'
  exit
fi
cp -r before disk/run
expect_error 'cannot write "disk/run/checkpoint.safetensors": No space left on device' $train --resume --out disk/run
unharmed disk/run
# Not one byte is free: the metrics cannot be written either.
cp -r disk/run full_before
cat /dev/zero > disk/filler 2> /dev/null || true
expect_error 'cannot write "disk/run/metrics.jsonl": No space left on device' $train --resume --out disk/run
same_folders disk/run full_before
unharmed disk/run
