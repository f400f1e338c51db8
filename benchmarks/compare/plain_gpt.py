"""Trains a plain GPT on the bytes of a text in PyTorch, and prints its validation loss over time, one JSON object a
line: {"step": .., "seconds": .., "loss": nats a byte}, at the end with "final": true. `time_to_loss.py` runs it.

Size and training are those of nanoGPT for tiny Shakespeare on a CPU. Evaluations take spread windows of the validation
text, the final one takes all. Seconds count from the start of the process, without the time of evaluations."""

import os
import time

# In hundredths of a second. The imports below are part of the run.
with open("/proc/self/stat") as fields:
    start_ticks = int(fields.read().rsplit(")", 1)[1].split()[19])
BEGAN = start_ticks / os.sysconf("SC_CLK_TCK")

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
PEAK, LEAST, WARMUP = 1e-3, 1e-4, 100
EVALUATION_WINDOWS = 256


class Layer(nn.Module):
    """Causal attention and a feed-forward network, each after a norm and added to its input: [B, T, W] -> [B, T, W]."""

    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH, bias=False)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attention_output = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_forward_norm = nn.LayerNorm(WIDTH, bias=False)
        self.wider = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.feed_forward_output = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        batch, length, _ = x.shape
        heads = self.queries_keys_values(self.attention_norm(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # [B, H, T, E] each
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_output(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.feed_forward_output(F.gelu(self.wider(self.feed_forward_norm(x))))


class PlainGpt(nn.Module):
    """The mean loss of predicting labels [B, T] from ids [B, T], in nats."""

    def __init__(self, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)  # also the output's matrix
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                # Two sums a layer enter the residual stream.
                residual = name.endswith("_output.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def forward(self, ids, labels):
        x = self.tokens(ids) + self.positions.weight[:ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def fail(sentence):
    sys.exit(f"plain_gpt: error: {sentence}")


def load(path):
    """The ids of the first 90% and of the last 10% of a text, and the number of distinct bytes."""
    try:
        text = path.read_bytes()
    except OSError as problem:
        fail(f"cannot read \"{path}\": {problem.strerror}")
    training = int(len(text) * 0.9)
    if min(training, len(text) - training) <= CONTEXT:
        fail(f"\"{path}\" has {len(text)} bytes; training and validation need more than {CONTEXT} each")
    distinct = sorted(set(text))
    ids = torch.tensor(list(text.translate(bytes(distinct.index(byte) if byte in distinct else 0
                                                 for byte in range(256)))))
    return ids[:training], ids[training:], len(distinct)


def learning_rate(step, steps):
    """It rises for the warm-up, then falls as half a cosine until the end."""
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return LEAST + (PEAK - LEAST) * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def validation_loss(model, text, most):
    """The mean over at most `most` windows, spread evenly. Consecutive windows predict each byte once."""
    count = (len(text) - 1) // CONTEXT
    chosen = min(count, most)
    starts = torch.tensor([window * count // chosen * CONTEXT for window in range(chosen)])
    total = 0.0
    for some in starts.split(64):
        windows = text[some[:, None] + torch.arange(CONTEXT + 1)]
        total += len(some) * model(windows[:, :-1], windows[:, 1:]).item()
    return total / chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=1, help="of the weights and the batches")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--evaluate-every", type=int, default=100, help="steps between evaluations; 0: only at the end")
    parser.add_argument("--compile", action="store_true", help="with torch.compile; its time counts")
    options = parser.parse_args()
    for name in ("threads", "steps"):
        if getattr(options, name) < 1:
            fail(f"--{name} is {getattr(options, name)}, not a positive number")

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    training, validation, vocabulary = load(options.text)
    model = PlainGpt(vocabulary)
    trained = torch.compile(model) if options.compile else model
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=PEAK, betas=(0.9, 0.99), fused=True)
    window = torch.arange(CONTEXT + 1)
    evaluating = 0.0

    def report(step, most, **more):
        nonlocal evaluating
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        loss = validation_loss(model, validation, most)
        print(json.dumps({"step": step, "seconds": round(now - BEGAN - evaluating, 3), "loss": round(loss, 5)} | more),
              flush=True)
        evaluating += time.clock_gettime(time.CLOCK_BOOTTIME) - now

    for step in range(options.steps):
        if options.evaluate_every > 0 and step % options.evaluate_every == 0:
            report(step, EVALUATION_WINDOWS)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps)
        starts = torch.randint(len(training) - CONTEXT, (BATCH, 1))
        windows = training[starts + window]
        trained(windows[:, :-1], windows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    report(options.steps, len(validation), final=True)


if __name__ == "__main__":
    main()
