"""Draw accuracy against time from a published report, for the README: ``make picture``.

.venv/bin/python benchmarks/picture.py models/cifar10-resnet18-w16/report.json docs/accuracy-against-time.svg
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from eed_edge.atomic_files import write_atomic
from eed_edge.html.plot import COLOURS, MARKS, drawing

NETWORKS = {
    "dense": "dense base",
    "dense_int8": "dense base, int8",
    "narrow": "narrow",
    "single": "single",
    "dynamic": "team",
}
"""What is drawn if the report has it, in this order; a network keeps its colour and mark."""
ATTACKS = {"clean": "unmodified images", "pgd20": "images attacked by PGD-20"}
LIGHT = "color: #1f2328; --line: #d1d9e0; --soft: #59636e; background: #ffffff"
DARK = "color: #e6edf3; --line: #3d444d; --soft: #9198a1; background: #0d1117"
FONT = "font-family: 'DejaVu Sans', Verdana, sans-serif"


def draw(report: dict[str, Any]) -> str:
    """An SVG file: for each of ``ATTACKS`` accuracy with its interval against an image's mean time."""
    with drawing("Accuracy against time", describe(report), height=3.4, axes=len(ATTACKS)) as made:
        made.figure.set_figwidth(8)
        for axes, (attack, title) in zip(made.axes, ATTACKS.items(), strict=True):
            _panel(axes, report, attack)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("milliseconds per image (mean)")
        made.axes[0].set_ylabel("accuracy, %")
        marks, words = made.axes[0].get_legend_handles_labels()
        made.figure.legend(marks, words, loc="outside upper center", ncols=len(words))
    return _standalone(str(made.svg))


def describe(report: dict[str, Any]) -> str:
    """Every figure of the picture in words, for readers who do not see it."""
    parts = []
    for key, name in NETWORKS.items():
        if key in report["latency"]:
            parts.append(f"{name}: {report['latency'][key]['mean_ms']:.3f} ms")
            for attack, images in ATTACKS.items():
                parts[-1] += f", {100 * report['accuracy'][attack][key]:.1f} % on {images}"
    return f"{report['recipe']['name']}, {report['machine']['cpu']}, one thread. {'; '.join(parts)}."


def _panel(axes: Axes, report: dict[str, Any], attack: str) -> None:
    row = report["accuracy"][attack]
    for (key, name), colour, mark in zip(NETWORKS.items(), COLOURS, MARKS, strict=False):
        if key in row and key in report["latency"]:
            low, high = (100 * bound for bound in row["interval"][key])
            mean, accuracy = report["latency"][key]["mean_ms"], 100 * row[key]
            axes.plot(mean, accuracy, mark, color=colour, markersize=8, linestyle="none", label=name)
            axes.vlines(mean, low, high, color=colour, linewidth=1.5)
    axes.set_xlim(0, 1.08 * max(line.get_xdata()[0] for line in axes.lines))
    axes.margins(y=0.15)


def _standalone(inline: str) -> str:
    """The page element as a file of its own, with colours for light and dark."""
    look = f"svg {{ {LIGHT}; {FONT} }} @media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}"
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = inline.replace("<svg", head, 1)
    return re.sub(r"(<svg[^>]*>)", lambda match: f"{match[1]}<style>{look}</style>", text, count=1) + "\n"


def main() -> None:
    """Write the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    asked = parser.parse_args()
    write_atomic(asked.picture, draw(json.loads(asked.report.read_text())).encode())


if __name__ == "__main__":
    main()
