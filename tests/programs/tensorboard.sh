# TensorBoard's own reader finds in the event file of a run what its metrics.jsonl holds.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"

# Only what the reader needs.
if ! python3 -m venv venv > log 2>&1 || ! venv/bin/pip install --timeout 10 --retries 1 --no-deps \
  tensorboard==2.20.0 numpy==2.4.6 protobuf==7.36.2 absl-py==2.5.1 packaging==26.4 setuptools==80.9.0 > log 2>&1; then
  echo 'TensorBoard cannot be installed here'
  exit 77
fi
text 8000 1 > text.txt
train="train_text --model tiny --text text.txt --threads 1 --batch 2 --length 32 --evaluate-every 10 --noise-scale"
interrupt TERM 12 run $train --steps 60 --checkpoint-every 10 --sample-every 20 --sample-length 20
works $train --resume --out run --steps 60 --sample-length 20
venv/bin/python - << 'END' || fail 'TensorBoard reads something else'
import json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

read = EventAccumulator("run", size_guidance={"scalars": 0, "tensors": 0})
read.Reload()
numbers, texts, last = {}, {}, 0
for line in open("run/metrics.jsonl"):
    entry = json.loads(line)
    for key, value in entry.items():
        if key in ("step", "seconds", "tokens"):
            continue
        into = texts if isinstance(value, str) else numbers
        into.setdefault(key, []).append((entry["step"], value))
assert sorted(numbers) == sorted(read.Tags()["scalars"]), read.Tags()["scalars"]
for key, points in numbers.items():
    found = [(event.step, event.value) for event in read.Scalars(key)]
    assert [step for step, _ in found] == [step for step, _ in points], key
    assert all(abs(a - b) <= 1e-6 * abs(b) for (_, a), (_, b) in zip(found, points)), key
for key, points in texts.items():
    found = [(event.step, event.tensor_proto.string_val[0].decode()) for event in read.Tensors(key)]
    assert found == points, (key, found, points)
for key in ("loss", "learning_rate", "gradient_norm", "noise_scale", "gradient_norm/layers.0", "weight_norm/token_emb",
            "tokens_per_second", "validation_loss"):
    assert key in numbers, key
assert "sample" in texts and len(numbers["loss"]) == 60
END
