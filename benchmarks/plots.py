r"""Draws docs/length.svg and docs/width.svg from what `benchmarks/scaling` measured:
    build/cpu-release/benchmarks/scaling --benchmark_out=build/scaling.json --benchmark_out_format=json \
        --benchmark_filter='length|width' --benchmark_repetitions=3 --benchmark_enable_random_interleaving=true
    python3 benchmarks/plots.py build/scaling.json docs"""

import json
import sys
from math import log2
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 35, 50, 55
COLOURS = ["#1f5fa8", "#c4572b"]


def ticks(largest):
    """From 0 to above `largest` by 1, 2 or 5 times a power of ten."""
    step = next(step for power in range(-4, 9) for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
                if largest / step <= 5)
    return [n * step for n in range(int(largest / step) + 2)]


def chart(title, x_label, y_label, lines):
    """An SVG of `lines`, {name: [(x, y), ..]}, with x on a scale of doublings and y from 0."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    steps = ticks(max(y for points in lines.values() for _, y in points))
    top = steps[-1]

    def position(x, y):
        across = (log2(x) - log2(xs[0])) / (log2(xs[-1]) - log2(xs[0]))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="Helvetica, Arial, sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             f'<text x="{LEFT}" y="24" font-size="15">{title}</text>',
             f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_label}</text>',
             f'<text x="18" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 18 {HEIGHT / 2})">{y_label}</text>']
    for y in steps:
        row = position(xs[0], y)[1]
        parts += [f'<line x1="{LEFT}" y1="{row:.1f}" x2="{WIDTH - RIGHT}" y2="{row:.1f}" stroke="#dddddd"/>',
                  f'<text x="{LEFT - 8}" y="{row + 4:.1f}" text-anchor="end">{y:,.{0 if top > 10 else 1}f}</text>']
    for x in xs:
        parts.append(f'<text x="{position(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>')
    for number, (name, points) in enumerate(lines.items()):
        positions = [position(x, y) for x, y in sorted(points)]
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in positions)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in positions]
        if len(lines) > 1:
            parts.append(f'<text x="{LEFT + 12 + 190 * number}" y="{TOP - 6}" fill="{colour}">{name}</text>')
    return "\n".join(parts + ["</svg>", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: plots.py RESULTS.json FOLDER")
    measured = {}
    for run in json.loads(Path(sys.argv[1]).read_text())["benchmarks"]:
        name = tuple(run["name"].split("/")[:3])
        if run.get("run_type") != "iteration" or name[0] not in ("length", "width"):
            continue
        # The fastest repetition counts: other programs only slow one down.
        if run["tokens/s"] > measured.get(name, {"tokens/s": 0})["tokens/s"]:
            measured[name] = run
    of = {name[1]: [] for name in measured if name[0] == "length"}
    widths = []
    for name, run in measured.items():
        if name[0] == "length":
            of[name[1]].append((int(name[2]), 1e6 / run["tokens/s"]))
        else:
            widths.append((int(name[1]), run["of_peak"]))
    folder = Path(sys.argv[2])
    names = {"windows": "two levels with windows", "full": "flat, full attention"}
    (folder / "length.svg").write_text(chart("Training: time for a token, 16,384 tokens a step", "tokens in a text",
                                             "microseconds", {names[kind]: points for kind, points in of.items()}))
    (folder / "width.svg").write_text(chart("Training: fraction of the multiply-add peak", "width of both levels",
                                            "of peak", {"": widths}))


if __name__ == "__main__":
    main()
