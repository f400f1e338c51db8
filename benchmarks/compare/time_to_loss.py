"""Measures how soon programs reach a validation loss: runs each `train_text` with several budgets of seconds and seeds,
and a plain GPT in PyTorch, in turn, and prints two Markdown tables. `make time-to-loss` runs it; docs/experiments.md
says how to read them. Every finished run is kept in --out: the same command continues after an interruption."""

import argparse
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median

PLAIN_GPT = "plain GPT"
PLAIN_GPT_SCRIPT = Path(__file__).resolve().with_name("plain_gpt.py")
RESULT = re.compile(r"validation loss (\S+) nats a byte = \S+ bits per byte")


class Failure(Exception):
    """What the user reads, as one sentence."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Failure(f"{message}; --help lists all options")


def numbers(text):
    """Positive numbers between commas."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = [0]
    if not all(0 < value < math.inf for value in values):
        raise argparse.ArgumentTypeError(f"expects positive numbers between commas, not '{text}'")
    return sorted(set(values))


def whole_number(text):
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"expects a positive whole number, not '{text}'")
    return int(text)


def fingerprint(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as problem:
        raise Failure(f"cannot read \"{path}\": {problem.strerror}") from None


class Program:
    """A name in the tables and a command. Its runs count as the same only while `setting` stays the same."""

    def __init__(self, name, command, options):
        executable = shutil.which(command[0])
        if executable is None:
            raise Failure(f"{name}: \"{command[0]}\" cannot be started: it is not an executable file")
        self.name, self.command, self.options = name, command, options
        self.setting = {"command": shlex.join(command), "threads": options.threads,
                        "text": fingerprint(options.text), "file": fingerprint(self.file(executable))}

    def file(self, executable):
        return executable

    def lines(self, *more):
        """Runs the command. Yields each line of its output, with the seconds since its start."""
        # A file, because a program would stop at a full pipe.
        with tempfile.TemporaryFile() as errors:
            start = time.monotonic()
            try:
                process = subprocess.Popen([*self.command, *map(str, more)], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace")
            except OSError as problem:
                raise Failure(f"{self.name}: \"{self.command[0]}\" cannot be started: {problem.strerror}") from None
            try:
                for line in process.stdout:
                    yield time.monotonic() - start, line.rstrip("\n")
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if status != 0:
                errors.seek(0)
                last = deque(filter(str.strip, errors.read().decode(errors="replace").splitlines()), 1)
                raise Failure(f"{self.name}: {how_it_ended(status)}; "
                              + (f"it said: {last[0].strip()}" if last else "it said nothing"))


class Strata(Program):
    """A run is one training with a budget of seconds."""

    def runs(self, seed):
        return [{"program": self.name, "seed": seed, "budget": budget} for budget in self.options.seconds]

    def measure(self, run):
        trained = loss = None
        with tempfile.TemporaryDirectory() as folder:
            for seconds, line in self.lines(
                    "--text", self.options.text, "--seconds", f"{run['budget']:g}", "--seed", run["seed"], "--threads",
                    self.options.threads, "--out", folder, "--overwrite", "--evaluate-every", 0, "--sample-every", 0,
                    "--checkpoint-every", 0, "--evaluate-windows", 0):
                if trained is None and line.startswith("trained "):
                    trained = seconds  # the final evaluation and the sample follow
                if loss is None and (found := RESULT.match(line)):
                    loss = float(found[1])
        if trained is None or loss is None or not math.isfinite(loss):
            raise Failure(f"{self.name}: its output has no line "
                          f"'{'trained .. steps in ..' if trained is None else 'validation loss .. nats a byte = ..'}'")
        return {"seconds": round(trained, 3), "loss": loss}


class PlainGpt(Program):
    """A run is one training of a fixed number of steps, with its evaluations."""

    def file(self, executable):
        return PLAIN_GPT_SCRIPT

    def runs(self, seed):
        return [{"program": self.name, "seed": seed}]

    def measure(self, run):
        evaluations = []
        for _, line in self.lines(PLAIN_GPT_SCRIPT, "--text", self.options.text, "--threads", self.options.threads,
                                  "--seed", run["seed"]):
            try:
                found = json.loads(line)
                evaluations.append({"seconds": float(found["seconds"]), "loss": float(found["loss"])})
            except (ValueError, KeyError, TypeError):
                raise Failure(f"{self.name}: its output has a line that is no evaluation: {line}") from None
        if not evaluations or "final" not in found:
            raise Failure(f"{self.name}: its output has no final evaluation")
        return evaluations[-1] | {"evaluations": evaluations}


def how_it_ended(status):
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"


class Results:
    """The finished runs in a folder, one JSON object a line."""

    def __init__(self, folder):
        self.path = folder / "results.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                file.seek(0)
                text = file.read()
                whole = text.rfind(b"\n") + 1
                file.truncate(whole)  # a line that was being written when the program was killed
        except OSError as problem:
            raise Failure(f"cannot write \"{self.path}\": {problem.strerror}") from None
        self.entries = {}
        for number, line in enumerate(text[:whole].splitlines(), 1):
            try:
                entry = json.loads(line)
                self.entries[self.key(entry["run"])] = entry
                float(entry["loss"]), float(entry["seconds"]), dict(entry["setting"])
            except (ValueError, KeyError, TypeError):
                raise Failure(f"\"{self.path}\": line {number} is no result") from None

    @staticmethod
    def key(run):
        return run["program"], run["seed"], run.get("budget")

    def require_same_settings(self, program):
        what = {"command": "command", "threads": "number of threads", "text": "text", "file": "build of its program"}
        for entry in self.entries.values():
            for name, value in program.setting.items():
                if entry["run"]["program"] == program.name and entry["setting"].get(name) != value:
                    raise Failure(f"\"{self.path}\" holds runs of {program.name} with another {what[name]}: remove "
                                  f"it, or choose another --out")

    def find(self, run):
        return self.entries.get(self.key(run))

    def add(self, run, setting, measured):
        entry = {"run": run, "setting": setting} | measured
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise Failure(f"cannot write \"{self.path}\": {problem.strerror}") from None
        self.entries[self.key(run)] = entry


class Report:
    def __init__(self, programs, results, options):
        self.programs, self.results, self.options = programs, results, options
        self.targets = options.targets[::-1]  # from the easiest
        self.unit = "bits per byte" if options.bits else "nats a byte"

    def shown(self, loss):
        return f"{loss / math.log(2) if self.options.bits else loss:.3f}"

    def entries(self, program, budget=None):
        """One for each seed."""
        run = {"program": program.name, "budget": budget}
        return [self.results.find(run | {"seed": seed + 1}) for seed in range(self.options.seeds)]

    def curve(self, program):
        """Medians of seconds and of losses, from the smallest budget to the largest."""
        return [(median(entry["seconds"] for entry in entries), median(entry["loss"] for entry in entries))
                for entries in (self.entries(program, budget) for budget in self.options.seconds)]

    def losses(self):
        """Table A: the loss after each budget."""
        rows = [["", *(f"{budget:g} s" for budget in self.options.seconds)]]
        for program in self.programs:
            if isinstance(program, PlainGpt):
                continue
            rows.append([program.name])
            for budget in self.options.seconds:
                losses = [entry["loss"] for entry in self.entries(program, budget)]
                spread = f" ± {self.shown((max(losses) - min(losses)) / 2)}" if len(losses) > 1 else ""
                rows[-1].append(self.shown(median(losses)) + spread)
        return rows

    def times(self):
        """Table B: the seconds to each target."""
        rows = [["", *(f"{target:g} nats" for target in self.targets), f"best, {self.unit}"]]
        for program in self.programs:
            if isinstance(program, PlainGpt):
                runs = self.entries(program)
                reached = [median(next((point["seconds"] for point in run["evaluations"] if point["loss"] <= target),
                                       math.inf) for run in runs) for target in self.targets]
                best, after = (median(run[name] for run in runs) for name in ("loss", "seconds"))
                budget = f"{after:.0f} s"
            else:
                curve = self.curve(program)
                reached = [self.seconds_to(curve, target) for target in self.targets]
                best, budget = min((loss, budget) for (_, loss), budget in zip(curve, self.options.seconds))
                budget = f"{budget:g} s"
            rows.append([program.name, *(f"{seconds:.1f} s" if math.isfinite(seconds) else "-" for seconds in reached),
                         f"{self.shown(best)} after {budget}"])
        return rows

    def seconds_to(self, curve, target):
        """Those of the smallest budget that reaches the target; infinite where none does."""
        for number, (seconds, loss) in enumerate(curve):
            if loss <= target:
                if number == 0 or not self.options.interpolate:
                    return seconds
                before, loss_before = curve[number - 1]
                part = (loss_before - target) / (loss_before - loss)
                return before * (seconds / before) ** part
        return math.inf

    def print(self):
        seeds = f"medians of {self.options.seeds} seeds" if self.options.seeds > 1 else "one seed"
        setting = f"{self.options.threads} thread{'s' if self.options.threads > 1 else ''}, {seeds}"
        if any(isinstance(program, Strata) for program in self.programs):
            half = ", ± half of the range" if self.options.seeds > 1 else ""
            print(f"Validation loss after a budget of training, {self.unit}; {setting}{half}:\n")
            print(markdown(self.losses()) + "\n")
        between = ", interpolated between budgets" if self.options.interpolate else ""
        print(f"Seconds until a validation loss, from the start of the process{between}; {setting}:\n")
        print(markdown(self.times()))


def markdown(rows):
    lines = ["|".join(["", *(f" {cell} " if cell else " " for cell in row), ""]) for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def programs_of(options):
    programs = []
    for given in options.program:
        name, _, command = given.partition("=")
        try:
            words = shlex.split(command)
        except ValueError as problem:
            raise Failure(f"--program '{given}' cannot be read: {problem}") from None
        if not (name.strip() and words) or "|" in name:
            raise Failure(f"--program expects NAME=COMMAND, not '{given}'")
        programs.append(Strata(name.strip(), words, options))
    if options.plain_gpt is not None:
        programs.append(PlainGpt(PLAIN_GPT, [options.plain_gpt], options))
    if not programs:
        raise Failure("there is nothing to run: give --program NAME=COMMAND or --plain-gpt PYTHON")
    names = [program.name for program in programs]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"two programs are called '{name}'")
    return programs


def options_of(arguments):
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="its last tenth is for validation")
    parser.add_argument("--program", action="append", default=[], metavar="NAME=COMMAND",
                        help="a train_text with or without options; may be repeated")
    parser.add_argument("--plain-gpt", metavar="PYTHON", help="also run plain_gpt.py, with this Python that has torch")
    parser.add_argument("--seconds", type=numbers, default="5,10,20,40,120,600", help="budgets of training")
    parser.add_argument("--seeds", type=whole_number, default=3, help="how many")
    parser.add_argument("--threads", type=whole_number, default=2)
    parser.add_argument("--targets", type=numbers, default="1.88,1.60,1.50", help="losses in nats a byte")
    parser.add_argument("--interpolate", action="store_true",
                        help="seconds to a target between two budgets, linear in their logarithm")
    parser.add_argument("--bits", action="store_true", help="show losses in bits per byte")
    parser.add_argument("--out", type=Path, default=Path("runs/time_to_loss"), metavar="FOLDER",
                        help="for results.jsonl")
    return parser.parse_args(arguments)


def main():
    options = options_of(sys.argv[1:])
    programs = programs_of(options)
    results = Results(options.out)
    for program in programs:
        results.require_same_settings(program)
    # All programs take turns, so that a slow hour of the machine meets all of them.
    runs = []
    for seed in range(1, options.seeds + 1):
        of_each = [[(program, run) for run in program.runs(seed)] for program in programs]
        for turn in range(max(map(len, of_each))):
            runs += [of_one[turn] for of_one in of_each if turn < len(of_one)]
    for number, (program, run) in enumerate(runs, 1):
        if results.find(run):
            continue
        results.add(run, program.setting, program.measure(run))
        entry = results.find(run)
        budget = f"{run['budget']:g} s, " if "budget" in run else ""
        print(f"{number}/{len(runs)} {program.name}, {budget}seed {run['seed']}: {entry['loss']:.4f} nats a byte after "
              f"{entry['seconds']:.1f} s", file=sys.stderr, flush=True)
    Report(programs, results, options).print()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it also ends the program that runs
    try:
        main()
    except Failure as problem:
        sys.exit(f"time_to_loss: error: {problem}")
    except KeyboardInterrupt:
        sys.exit("time_to_loss: error: interrupted; the same command continues")
