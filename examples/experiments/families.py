#!/usr/bin/env python3
"""At which budget does hierarchy pay? Reads the experiments with the table "families" and writes docs/experiments/.

Usage: families.py RUNS DOCS. RUNS has one folder of `experiments --table families` for each text and budget, such as
code-1e13. It writes DOCS/families.csv, all runs; DOCS/families-TEXT.svg, loss against budget; and prints the tables.

The loss of a family at a budget is the lowest of its sizes, the mean of its seeds. A family's losses are fitted by a power
law, L = a (C / 1e13)^-b, by least squares of the logarithms; errors are one standard error of that fit.
"""

import csv
import json
import math
import pathlib
import sys

COLOURS = ["#1f5fa8", "#c4572b", "#2f8f4e", "#8a4fb3", "#b0892b", "#2b9aa8", "#a83264", "#555555", "#7a9e1f", "#d1762c",
           "#6b4e2e", "#3d3d9e", "#e0559d", "#1d6b5a"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 64, 190, 40, 56


def read_runs(folder):
    """All runs below `folder`, as rows of families.csv."""
    rows = []
    for experiment in sorted(folder.glob("*/experiment.json")):
        settings = json.loads(experiment.read_text())
        text = experiment.parent.name.split("-")[0]
        for path in sorted((experiment.parent / "runs").glob("*.json")):
            run = json.loads(path.read_text())
            family, size = run["configuration"].rsplit("_", 1)
            tokens = run["steps"] * settings["batch"] * settings["accumulation"] * settings["length"]
            rows.append({
                "text": text, "budget": settings["flops"], "family": family, "size": int(size), "seed": run["seed"],
                "learning_rate": settings["learning_rate"], "muon_learning_rate": settings["muon_learning_rate"],
                "bits_per_byte": run["bits_per_byte"], "flops_per_token": run["flops_per_token"], "steps": run["steps"],
                "tokens": tokens, "training_flops": run["flops_per_token"] * tokens,
                **{f"eighth_{n + 1}": bits for n, bits in enumerate(run["bits_by_eighth"])},
            })
    return rows


def minima(rows):
    """{(text, family): {budget: (loss, size, runs)}}: the best size at each budget."""
    by_size = {}
    for row in rows:
        rates = (row["learning_rate"], row["muon_learning_rate"])
        by_size.setdefault((row["text"], row["family"], row["budget"], row["size"], rates), []).append(row)
    best = {}
    for (text, family, budget, size, _), runs in by_size.items():
        loss = sum(run["bits_per_byte"] for run in runs) / len(runs)
        of_family = best.setdefault((text, family), {})
        if budget not in of_family or loss < of_family[budget][0]:
            of_family[budget] = (loss, size, runs)
    return best


def fit(points):
    """a, b, and their standard errors, of loss = a (budget / 1e13)^-b; None for fewer than three points."""
    if len(points) < 3:
        return None
    x = [math.log(budget / 1e13) for budget in points]
    y = [math.log(loss) for loss, _, _ in points.values()]
    n, mean_x, mean_y = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((value - mean_x)**2 for value in x)
    slope = sum((own - mean_x) * (value - mean_y) for own, value in zip(x, y)) / spread
    at_zero = mean_y - slope * mean_x
    residual = sum((value - at_zero - slope * own)**2 for own, value in zip(x, y)) / (n - 2)
    error_of_slope = math.sqrt(residual / spread)
    error_at_zero = math.sqrt(residual * (1 / n + mean_x**2 / spread))
    return {"a": math.exp(at_zero), "b": -slope, "a_error": math.exp(at_zero) * error_at_zero, "b_error": error_of_slope}


def crossing(one, other):
    """The budget at which two power laws meet, and the factor of one standard error; None where they do not."""
    difference = other["b"] - one["b"]
    if abs(difference) < 1e-9:
        return None
    ratio = math.log(other["a"] / one["a"])
    at = ratio / difference
    if abs(at) > 60:
        return None
    relative = math.hypot(one["a_error"] / one["a"], other["a_error"] / other["a"]) / difference
    error = math.hypot(relative, at * math.hypot(one["b_error"], other["b_error"]) / difference)
    return 1e13 * math.exp(at), math.exp(min(60, abs(error)))


def picture(text, best):
    """Loss against budget, both logarithmic: points are measured, broken lines are the fits beyond them."""
    of_text = {family: points for (own, family), points in best.items() if own == text}
    budgets = sorted({budget for points in of_text.values() for budget in points})
    losses = [loss for points in of_text.values() for loss, _, _ in points.values()]
    low_x, high_x = math.log10(budgets[0]) - 0.1, math.log10(budgets[-1]) + 0.6
    low_y, high_y = math.log10(min(losses)) - 0.04, math.log10(max(losses)) + 0.01

    def place(budget, loss):
        return (LEFT + (math.log10(budget) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT),
                TOP + (high_y - math.log10(loss)) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="Helvetica, Arial, sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             f'<text x="{LEFT}" y="22" font-size="15">Bits per byte of {text} against training FLOPs, best size of each '
             'family</text>',
             f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">training FLOPs; broken lines '
             'are extrapolated</text>']
    step = 0.1 if 10**high_y - 10**low_y < 1.2 else 0.25
    level = math.ceil(10**low_y / step) * step
    while level < 10**high_y:
        y = place(budgets[0], level)[1]
        parts += [f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>',
                  f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level:.2f}</text>']
        level += step
    for budget in budgets:
        x = place(budget, 10**high_y)[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{budget:.0e}</text>')
    for number, (family, points) in enumerate(sorted(of_text.items())):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(budget, loss) for budget, (loss, _, _) in sorted(points.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        law = fit(points)
        if law:
            ends = [(budget, law["a"] * (budget / 1e13)**-law["b"]) for budget in (max(points), 10**high_x)]
            (x1, y1), (x2, y2) = (place(*end) for end in ends)
            parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                         'stroke-width="1.5" stroke-dasharray="5 4"/>')
        y = TOP + 18 + 20 * number
        parts += [f'<line x1="{WIDTH - RIGHT + 14}" y1="{y - 4}" x2="{WIDTH - RIGHT + 34}" y2="{y - 4}" '
                  f'stroke="{colour}" stroke-width="3"/>',
                  f'<text x="{WIDTH - RIGHT + 40}" y="{y}">{family}</text>']
    return "\n".join(parts + ["</svg>", ""])


def tables(text, best):
    of_text = {family: points for (own, family), points in best.items() if own == text}
    budgets = sorted({budget for points in of_text.values() for budget in points})
    print(f"\n{text}: bits per byte (best size)\n")
    print("| family | " + " | ".join(f"{budget:.0e}" for budget in budgets) + " | fit |")
    print("|---|" + "---|" * (len(budgets) + 1))
    for family, points in sorted(of_text.items()):
        cells = [f"{points[budget][0]:.3f} ({points[budget][1]})" if budget in points else "" for budget in budgets]
        law = fit(points)
        cells.append(f"{law['a']:.3f} C^-{law['b']:.4f} ± {law['b_error']:.4f}" if law else "")
        print(f"| `{family}` | " + " | ".join(cells) + " |")
    window = of_text.get("window")
    for family, points in sorted(of_text.items()):
        if family == "window" or not window or not fit(points) or not fit(window):
            continue
        meets = crossing(fit(window), fit(points))
        print(f"{family} meets window at " + (f"{meets[0]:.1e} FLOPs, times or over {meets[1]:.1f}" if meets else "no budget"))
    largest = budgets[-1]
    print(f"\nby eighth of the context, at {largest:.0e}\n")
    for family, points in sorted(of_text.items()):
        if largest in points:
            run = points[largest][2][0]
            print(f"| `{family}` | " + " | ".join(f"{run[f'eighth_{n}']:.3f}" for n in range(1, 9)) + " |")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    runs, docs = map(pathlib.Path, sys.argv[1:])
    rows = read_runs(runs)
    if not rows:
        sys.exit(f"{runs}: no experiment with a run that is done")
    docs.mkdir(parents=True, exist_ok=True)
    with open(docs / "families.csv", "w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    best = minima(rows)
    for text in sorted({row["text"] for row in rows}):
        (docs / f"families-{text}.svg").write_text(picture(text, best))
        tables(text, best)


if __name__ == "__main__":
    main()
