"""Write the tables of a model's card from its report.json, curve.json and judged.json.

    .venv/bin/python benchmarks/card_tables.py cifar10-resnet18-w16

The tables stand in card.md between the lines ``<!-- tables: begin -->`` and ``<!-- tables: end -->``, the
lines for a model hub at its beginning; the bundle beside it gets its own card. A test compares every card
with what this script would write.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from eed_edge.atomic_files import write_atomic
from eed_edge.export.model_card import front_matter
from eed_edge.recipe import load_recipe
from eed_edge.report.paired_words import COMPARISON_WORDS, comparison

LICENCE = "apache-2.0"
FRONT_MATTER = re.compile(r"\A---\n.*?^---\n", re.MULTILINE | re.DOTALL)
MODELS = Path(__file__).parents[1] / "models"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
KINDS = {
    "clean": "clean",
    "pgd20": "PGD-20",
    "apgd": "APGD, 10 iterations",
    "autoattack": "AutoAttack",
    "cw": "C&W",
    "deepfool": "DeepFool",
    "adaptive": "adaptive",
}
DEFENCES = {
    "dense": "dense base",
    "dense_int8": "dense, int8",
    "narrow": "narrow network",
    "single": "single pruned network",
    "static": "static mean",
    "dynamic": "the bundle",
}
FURTHER_TIMES = {
    "pgd20": "the bundle, stopping as under PGD-20",
    "slowdown": "the bundle, stopping as under the slow-down attack",
    "single_file": "cascade.onnx",
    "other_bundle": "the bundle in int8",
}
OVER = {"speedups": "dense", "speedups_int8": "dense int8"}


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
def main(models: tuple[str, ...]) -> None:
    """Rewrite the tables of the cards."""
    for name in models:
        card = MODELS / name / "card.md"
        write_atomic(card, with_tables(card.read_text(), MODELS / name).encode())
        click.echo(f"written: {card}")


def with_tables(card: str, folder: Path) -> str:
    """The card with the tables of its folder's files.

    Raises:
        click.ClickException: the card has no place for them.
    """
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(f"expected {BEGIN} and {END} in card.md; add both lines")
    figures = read(folder, "report.json")
    recipe = load_recipe(str(folder / "recipe.toml"))
    before = front_matter(recipe, figures, licence=LICENCE) + FRONT_MATTER.sub("", before)
    parts = [accuracy_table(figures), paired_table(figures), cost_table(figures), latency_table(figures)]
    parts.append(calibration_words(figures))
    if curve := read(folder, "curve.json"):
        parts.append(budget_table(curve))
    if (log := folder / "members" / "log.jsonl").exists():
        parts.append(hours_table([json.loads(line) for line in log.read_text().splitlines()]))
    if judged := read(folder, "judged.json"):
        parts.append(judged_table(judged))
    return f"{before}{BEGIN}\n" + "".join(part for part in parts if part) + f"\n{END}{after}"


def read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of the folder; empty where there is none."""
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


def accuracy_table(figures: Mapping[str, Any]) -> str:
    """Accuracy in percent with the 95 % Wilson interval, for every attack and network."""
    rows = figures["accuracy"]
    shown = [name for name in DEFENCES if any(name in row for row in rows.values())]
    lines = [[*(DEFENCES[name] for name in shown), "images"]]
    lines += [
        [
            *(share(row[name], row["interval"][name]) if name in row else "" for name in shown),
            str(row["images"]),
        ]
        for kind in KINDS
        if (row := rows.get(kind))
    ]
    names = ["accuracy, %", *(KINDS[kind] for kind in KINDS if kind in rows)]
    return table([name, *cells] for name, cells in zip(names, lines, strict=True))


def paired_table(figures: Mapping[str, Any]) -> str:
    """Difference of the bundle to every other network on the same images, in points."""
    paired = figures.get("paired", {})
    shown = [name for name in DEFENCES if any(name in row for row in paired.values())]
    if not shown:
        return ""
    lines = [["the bundle minus …, points", *(DEFENCES[name] for name in shown), "images"]]
    for kind in KINDS:
        if row := paired.get(kind):
            cells = [difference(row[name]) if name in row else "" for name in shown]
            lines.append([KINDS[kind], *cells, str(row["images"])])
    return table(lines)


def cost_table(figures: Mapping[str, Any]) -> str:
    """Parameters, MACs and file sizes of the dense base and of all sub-models together."""
    cost = figures["cost"]
    units = {
        "params": ("parameters", 1e6, "M"),
        "macs": ("MACs an image", 1e6, "M"),
        "bytes": ("ONNX files", 1e6, "MB"),
    }
    lines = [["", "dense base", "all sub-models", "each"]]
    for key, (title, unit, letter) in units.items():
        each = ", ".join(f"{value / unit:.2f}" for value in cost[key]["each"])
        total = [f"{cost[key][name] / unit:.2f} {letter}" for name in ("dense", "ensemble")]
        lines.append([title, *total, each])
    return table(lines)


def latency_table(figures: Mapping[str, Any]) -> str:
    """Mean time of each program, its speed relative to dense, and the mean number of sub-models run."""
    latency = figures.get("latency")
    if not latency:
        return ""
    over = {title: latency[key] for key, title in OVER.items() if latency.get(key)}
    lines = [["one image a call, one thread", "mean, ms", *(f"times faster than {title}" for title in over)]]
    for name, title in {**DEFENCES, **FURTHER_TIMES}.items():
        if name in latency:
            cells = [spread(part[name]) if name in part else "" for part in over.values()]
            lines.append([title, f"{latency[name]['mean_ms']:.3f}", *cells])
    used = figures.get("submodels_used", {})
    restarts = figures.get("slowdown", {}).get("settings", {}).get("restarts")
    slowdown = f"slow-down attack{'' if restarts is None else f', restarts: {restarts}'}"
    lines += [
        [f"sub-models run, {title}", f"{used[kind]:.2f}", *([""] * len(over))]
        for kind, title in (("clean", "clean"), ("pgd20", "PGD-20"), ("slowdown", slowdown))
        if kind in used
    ]
    machine = figures.get("latency", {}).get("machine", figures["machine"])
    return (
        table(lines) + "\nSpeed: median over rounds, with quartiles."
        f" Timed on {machine['cpu']}, {latency['images']} test images.\n"
    )


def calibration_words(figures: Mapping[str, Any]) -> str:
    """What the bundle's probabilities are worth on clean test images."""
    clean = figures.get("shift", {}).get("clean", {})
    if "images" not in clean:
        return ""
    return (
        f"\nOn {clean['images']} clean test images probability and share of right answers differ by"
        f" {100 * clean['ece']:.1f} points on average (expected calibration error);"
        f" {100 * clean['abstained_right']:.1f} % of the right answers and"
        f" {100 * clean['abstained_wrong']:.1f} % of the wrong ones are marked as abstained.\n"
    )


def spread(part: Mapping[str, float]) -> str:
    """A speed-up with its quartiles, such as ``1.96 (1.87 to 2.01)``."""
    return f"{part['median']:.2f} ({part['low']:.2f} to {part['high']:.2f})"


def budget_table(curve: Mapping[str, Any]) -> str:
    """Accuracy against speed over budgets."""
    kinds = [kind for kind in KINDS if any(kind in row for row in curve["budgets"])]
    lines = [["times faster", "budget", *(f"{KINDS[kind]}, %, images" for kind in kinds)]]
    runs = {row["budget"].partition(": ")[0] for row in curve["budgets"]}
    for row in curve["budgets"]:
        cells = [
            f"{share(each['share'], each['interval'])}, {each['images']}" if (each := row.get(kind)) else ""
            for kind in kinds
        ]
        budget = row["budget"].partition(": ")[2] if len(runs) == 1 else row["budget"]
        lines.append([f"{row['speedup']:.2f}", budget, *cells])
    return table(lines)


def hours_table(epochs: list[Mapping[str, Any]]) -> str:
    """Accuracy on tune against the hours of joint training, epoch by epoch; attacked: the worse of two."""
    head = [
        "trained with",
        "loss",
        "tune: clean, %",
        "attacked (the worse of PGD-10 on cross-entropy and margin), %",
    ]
    lines = [["joint training, hours", *head, "the first member attacked, %"]]
    hours = 0.0
    for epoch in epochs:
        if epoch["stage"] == "joint":
            hours += epoch["seconds"] / 3600
            shares = [f"{100 * epoch[key]:.1f}" for key in ("clean", "attacked", "attacked_first")]
            lines.append([f"{hours:.2f}", epoch["attack"], f"{epoch['loss']:.2f}", *shares])
    return table(lines)


def judged_table(judged: Mapping[str, Any]) -> str:
    """Every bundle of this name that was judged on test, in order of time."""
    lines = [
        ["commit", "what was new, and why", "bundle, clean %", "base", "bundle, PGD-20 %", "base", "images"]
    ]
    lines += [
        [
            row["commit"],
            row["change"],
            *(f"{100 * row[kind][name]:.1f}" for kind in ("clean", "pgd20") for name in ("dynamic", "dense")),
            str(row["images"]),
        ]
        for row in judged["bundles"]
    ]
    return table(lines)


def share(value: float, interval: tuple[float, float]) -> str:
    """A share in percent with its interval, such as ``64.4 (63.5 to 65.4)``."""
    low, high = interval
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def difference(row: Mapping[str, Any]) -> str:
    """A difference in points with interval, McNemar's p and what it says, such as ``better``."""
    low, high = row["interval"]
    p = "p < 0.001" if row["p"] < 0.001 else f"p {row['p']:.3f}"
    words = COMPARISON_WORDS[comparison(row)]
    return f"{100 * row['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), {p}: {words}"


def table(lines: Iterator[list[str]] | list[list[str]]) -> str:
    """A Markdown table whose first line is its head."""
    head, *rows = lines
    text = [head, ["---"] * len(head), *rows]
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in text)


if __name__ == "__main__":
    main()
