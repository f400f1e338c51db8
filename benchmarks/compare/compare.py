"""Compares strata with the PyTorch package `simple-hierarchical-transformer`: first that both compute the same losses,
then how long they take and how much memory they hold. `make compare` runs it; docs/benchmarks.md says what it shows."""

import argparse
import json
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file

warnings.filterwarnings("ignore", category=FutureWarning)  # of the package, about autocast on a GPU
from simple_hierarchical_transformer import HierarchicalTransformer

BUILD = Path(__file__).resolve().parents[2] / "build"
TRAINING_STEPS = {"small": 4, "base": 1}  # in a round
TRAINING_ROUNDS = {"small": 5, "base": 3}
REFERENCE_TOKENS = {"small": 8, "base": 3}  # in a round; each costs a pass over the text
GENERATION_ROUNDS = 5
STRATA_TOKENS = 256
TRAINING_GOALS = {"small": 3, "base": 2}
GENERATION_GOAL, MEMORY_GOAL = 200, 2
# Relative. Before training, half a window changes a loss by 7e-5, another order of sums by 1e-7. Adam increases the
# latter.
SAME_WEIGHTS, SAME_STEPS = 1e-5, 1e-3
LOSSES = ["cross_entropy", "reconstruction", "level_autoregressive"]  # in the order of the reference


def memory_of_process(wanted):
    """Bytes: VmRSS is what the process holds, VmHWM the most it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(wanted + ":"))


class Reference:
    """The reference package's model, trained as `strata::trainer` does."""

    def __init__(self, setup, weights=None):
        torch.set_num_threads(setup["threads"])
        torch.manual_seed(0)
        arguments = {name: tuple(value) if isinstance(value, list) else value
                     for name, value in setup["arguments"].items()}
        self.model = HierarchicalTransformer(**arguments, ignore_index=-1)  # as ours: every token counts
        if weights:
            self.model.load_state_dict(load_file(weights), strict=True)
        self.training = setup["training"]
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.training["weight_decay"]},
             {"params": vectors, "weight_decay": 0.0}],
            lr=self.training["learning_rate"], betas=(self.training["beta1"], self.training["beta2"]),
            eps=self.training["epsilon"], fused=True)  # PyTorch's fastest

    @torch.no_grad()
    def losses(self, ids):
        total, parts = self.model(ids, return_loss=True)
        return {"total": total.item()} | {name: part.item() for name, part in zip(LOSSES, parts)}

    def train_step(self, ids):
        loss, _ = self.model(ids, return_loss=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training["max_norm"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def seconds_of(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def answer_of(command):
    """The JSON that a program prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


def require_same(what, ours, theirs, tolerance):
    difference = abs(ours - theirs) / abs(theirs)
    if not difference <= tolerance:
        sys.exit(f"The two sides do not compute the same, and times would mean nothing: {what} is {ours:.7g} in "
                 f"strata and {theirs:.7g} in the reference, a difference of {difference:.1e} where {tolerance:.0e} is "
                 f"allowed.")
    return difference


class Comparison:
    def __init__(self, program, folder, rounds):
        self.program, self.folder, self.rounds = program, folder, rounds
        self.rows, self.losses = [], {}

    def strata(self, command, model, count=0):
        return answer_of([self.program, command, model, self.folder / model, count])

    def add_row(self, what, unit, ours, theirs, goal=None):
        """Keeps every measurement. The ratio is that of the medians; the ratio of the fastest shows the influence of other programs."""
        self.rows.append({"what": what, "unit": unit, "strata": median(ours), "reference": median(theirs),
                          "ratio": median(theirs) / median(ours), "ratio_of_least": min(theirs) / min(ours),
                          "goal": goal, "strata_all": ours, "reference_all": theirs})
        print(f"  {line_of(self.rows[-1])}", flush=True)
        return self.rows[-1]

    def compare(self, model):
        print(f"{model}:", flush=True)
        setup = self.strata("prepare", model)
        (self.folder / model / "setup.json").write_text(json.dumps(setup))
        reference = Reference(setup, setup["weights"])
        batches = load_file(setup["batches"])["ids"].long()
        self.same_losses(model, reference, batches[0])
        self.generation(model, setup, reference, batches[0])
        self.training(model, setup, reference, batches)
        return setup

    def same_losses(self, model, reference, ids):
        ours, theirs = self.strata("losses", model), reference.losses(ids)
        differences = {name: require_same(f"{model}: the loss '{name}'", ours[name], theirs[name], SAME_WEIGHTS)
                       for name in theirs}
        self.losses[model] = {"strata": ours, "reference": theirs, "relative_differences": differences}
        print(f"  the losses agree: total {ours['total']:.6f}, largest relative difference "
              f"{max(differences.values()):.0e}", flush=True)

    def training(self, model, setup, reference, batches):
        options, steps = setup["training"], TRAINING_STEPS[model]
        # The first step touches all memory and is not timed. It starts from the same weights on both sides.
        losses = [reference.train_step(batches[0])]
        ours, theirs, peak = [], [], 0
        for _ in range(self.rounds or TRAINING_ROUNDS[model]):
            answer = self.strata("training", model, 1 + steps)
            ours += answer["seconds"][1:]
            peak = max(peak, answer["peak"])
            for _ in range(steps):
                seconds, loss = seconds_of(lambda: reference.train_step(batches[len(losses) % len(batches)]))
                theirs.append(seconds)
                losses.append(loss)
            for step, pair in enumerate(zip(answer["losses"], losses[:len(batches)])):
                require_same(f"{model}: the loss of training step {step + 1}", *pair, SAME_STEPS)
        row = self.add_row(f"a training step of `{model}` on {options['batch']} x {options['length']} tokens", "s",
                           ours, theirs, TRAINING_GOALS[model])
        # The peak bounds both sides.
        row["of_peak"] = {side: setup["training_flops"] / row[side] / peak for side in ("strata", "reference")}

    def generation(self, model, setup, reference, ids):
        prompt, tokens = ids[:1, :setup["prompt"]], REFERENCE_TOKENS[model]
        reference.model.generate(prompt, 1)
        ours, theirs, ours_whole = [], [], []
        for _ in range(self.rounds or GENERATION_ROUNDS):
            generated = self.strata("generation", model, STRATA_TOKENS)["generated"]
            ours.append((generated[-1] - generated[0]) / (len(generated) - 1))
            ours_whole.append(generated[-1])
            theirs.append(seconds_of(lambda: reference.model.generate(prompt, tokens))[0] / tokens)
        self.add_row(f"a token of `{model}` after a prompt of {setup['prompt']}", "s", ours, theirs, GENERATION_GOAL)
        # The reference caches nothing: each token passes over the prompt again.
        self.add_row(f"the prompt and {STRATA_TOKENS} tokens of `{model}`, together", "s", ours_whole,
                     [STRATA_TOKENS * seconds for seconds in theirs])

    def memory(self, model, setup):
        ours = self.strata("training", model, 2)
        theirs = answer_of([sys.executable, __file__, "--memory-of", self.folder / model / "setup.json"])
        what = f"peak memory of training `{model}`"
        self.add_row(f"{what}, above what the process held before the model", "MB",
                     *[[(side["memory_peak"] - side["memory_before"]) / 1e6] for side in (ours, theirs)], MEMORY_GOAL)
        self.add_row(f"{what}, whole process", "MB", *[[side["memory_peak"] / 1e6] for side in (ours, theirs)])


def memory_of_reference(setup):
    """For a fresh process that has done nothing but import."""
    before = memory_of_process("VmRSS")
    options = setup["training"]
    reference = Reference(setup)
    ids = load_file(setup["batches"])["ids"].long()
    for batch in ids[:2]:  # the second step has the optimizer's moments beside the activations
        reference.train_step(batch)
    return {"memory_before": before, "memory_peak": memory_of_process("VmHWM")}


def number(value, unit):
    if unit == "s":
        value, unit = (1e3 * value, "ms") if value < 1 else (value, "s")
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def line_of(row):
    goal = f"{row['goal']}x: {'reached' if row['ratio'] >= row['goal'] else 'missed'}" if row["goal"] else ""
    return (f"| {row['what']} | {number(row['strata'], row['unit'])} | {number(row['reference'], row['unit'])} "
            f"| {row['ratio']:.{1 if row['ratio'] < 100 else 0}f}x | {goal} |")


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, default=BUILD / "cpu-release/benchmarks/compare/strata_side",
                        help="our side, built")
    parser.add_argument("--folder", type=Path, default=BUILD / "compare",
                        help="for the files that both sides read, and for the results")
    parser.add_argument("--rounds", type=int, help="of every measurement, instead of its own number")
    parser.add_argument("--memory-of", type=Path, metavar="SETUP",
                        help="only measure the reference's memory: for a fresh process")
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(memory_of_reference(json.loads(options.memory_of.read_text()))))
        return

    versions = {"reference": version("simple-hierarchical-transformer"), "torch": torch.__version__}
    comparison = Comparison(options.program, options.folder, options.rounds)
    for model in TRAINING_STEPS:
        setup = comparison.compare(model)
    comparison.memory("base", setup)
    versions["compiler"] = setup["compiler"]

    results = {"processor": processor(), "threads": setup["threads"], "versions": versions, "losses": comparison.losses,
               "measurements": comparison.rows}
    results_file = options.folder / "results.json"
    results_file.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{results['processor']}, {results['threads']} threads; reference {versions['reference']} on PyTorch "
          f"{versions['torch']}; medians.\n\n| | strata | reference | ratio | goal |\n|---|---|---|---|---|")
    print(*map(line_of, comparison.rows), sep="\n")
    for row in comparison.rows:
        if "of_peak" in row:
            ours, theirs = row["of_peak"].values()
            print(f"\nIn {row['what']}, strata reaches {ours:.2f} of the multiply-add peak of this run and the "
                  f"reference {theirs:.2f}: at the peak itself the ratio would be {1 / theirs:.1f}x.")
    print(f"\nAll measurements: {results_file}")


if __name__ == "__main__":
    main()
