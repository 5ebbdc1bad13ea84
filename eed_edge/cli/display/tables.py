"""The figures of report.json as plain text tables."""

import shlex
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from eed_edge.errors import InputError
from eed_edge.printable import printable
from eed_edge.report.names import ATTACKS, NETWORKS, PERCENTILES, attack_title, attacks_in_order
from eed_edge.report.one_clock import with_one_clock
from eed_edge.report.paired_words import COMPARISON_WORDS, comparison
from eed_edge.report.report_file import DAMAGE_ERRORS
from eed_edge.report.verdict import verdict

if TYPE_CHECKING:
    from eed_edge.manifest import Manifest

NO_NOTES: Mapping[str, str] = MappingProxyType({})


def command_line() -> str:
    """Return the command line of this call, for the report and for instructions to resume."""
    context = click.get_current_context(silent=True)
    words = context.find_root().obj if context else None
    return shlex.join(["eed-edge", *(sys.argv[1:] if words is None else words)])


def accuracy_table(accuracy: Mapping[str, Any]) -> str:
    """A row per attack: accuracy in percent with its 95 % interval, and the number of images."""
    shown = [name for name in NETWORKS if any(name in row for row in accuracy.values())]
    lines = [f"{'accuracy %':<12}" + "".join(f"{name:>22}" for name in shown) + f"{'images':>9}"]
    for attack in attacks_in_order(accuracy):
        row = accuracy[attack]
        lines.append(
            f"{attack:<12}" + "".join(f"{_share(row, name):>22}" for name in shown) + f"{row['images']:>9}"
        )
    return "\n".join(lines)


def paired_table(paired: Mapping[str, Any]) -> str:
    """Paired differences, dynamic minus each other network: points, 95 % interval, McNemar's p, images."""
    lines = [f"{'dynamic minus, points':<24}{'difference':>11}{'95 %':>19}{'p':>9}{'images':>9}"]
    for attack in attacks_in_order(paired):
        row = paired[attack]
        for name in (name for name in NETWORKS if name in row):
            low, high = row[name]["interval"]
            spread = f"({100 * low:+.2f} to {100 * high:+.2f})"
            lines.append(
                f"{attack:<14}{name:<10}{100 * row[name]['difference']:>+11.2f}{spread:>19}"
                f"{row[name]['p']:>9.2g}{row['images']:>9}  {COMPARISON_WORDS[comparison(row[name])]}"
            )
    return "\n".join(lines)


def report_table(
    report: Mapping[str, Any], manifest: "Manifest", *, notes: Mapping[str, str] = NO_NOTES
) -> str:
    """The verdict, then accuracy, latency, cost and diversity of one run, each part only if it was measured.

    Args:
        notes: notes on the run, by name.

    Raises:
        InputError: a part is damaged.
    """
    try:
        one_clock = with_one_clock(report)
        answer = str(verdict(report, precision=manifest.precision, notes=notes))
        return "\n\n".join((answer, *_parts(one_clock, manifest)))
    except DAMAGE_ERRORS as error:
        raise InputError(
            f"report.json is not as docs/REPORT.md describes it ({type(error).__name__}: {error});"
            " measure it again"
        ) from error


def _parts(report: Mapping[str, Any], manifest: "Manifest") -> list[str]:
    parts = [f"{printable(manifest.name)}: {len(manifest.submodels)} sub-models, gate {manifest.gate.rule}"]
    if "accuracy" in report:
        parts.append(accuracy_table(report["accuracy"]))
    if "paired" in report:
        parts.append(paired_table(report["paired"]))
    if "latency" in report:
        latency = report["latency"]
        lines = [f"{'latency ms':<12}" + "".join(f"{title:>9}" for title in PERCENTILES.values())]
        for name in (name for name in NETWORKS if name in latency):
            cells = "".join(f"{latency[name][key]:>9.3f}" for key in PERCENTILES)
            lines.append(f"{name:<12}{cells}")
        parts.append("\n".join(lines))
        threads, cpu = latency["threads"], report.get("machine", {}).get("cpu", "")
        parts += [f"{line} ({threads} thread, {cpu})" for line in speedup_lines(latency)]
    parts += ["\n".join(lines)] if (lines := further_lines(report)) else []
    if "prefixes" in report:
        parts.append(_prefix_table(report["prefixes"]))
    if "submodels_used" in report:
        used = ", ".join(f"{name} {value:.2f}" for name, value in report["submodels_used"].items())
        parts.append(f"sub-models used: {used} of {len(manifest.submodels)}")
    if "cost" in report:
        diversity = f"; robust diversity {report['rd']:.3f}" if "rd" in report else ""
        share = {key: row["ensemble"] / row["dense"] for key, row in report["cost"].items()}
        parts.append(
            f"the team has {share['params']:.1%} of the base's parameters and {share['macs']:.1%}"
            f" of its MACs{diversity}"
        )
    return parts


def predicted_lines(latency: dict[str, Any]) -> list[str]:
    """Predicted and measured times of the sub-models, as lines; none without a latency table."""
    if "predicted_ms" not in latency:
        return []
    parts = [
        f"{ms:.3f} ({row['p50_ms'] / ms - 1:+.1%} measured)"
        for ms, row in zip(latency["predicted_ms"], latency["submodels"], strict=True)
    ]
    return [f"predicted ms of the sub-models on {printable(latency['predicted_on'])}: {', '.join(parts)}"]


def speedup_lines(latency: Mapping[str, Any]) -> list[str]:
    """Speed-ups over dense, and over dense in int8, with their quartiles over rounds, a line each.

    Reports that were timed call by call have no quartiles.
    """
    return [
        f"speed-up over {title}: {_speedups(latency, ending)}"
        for title, ending in (("dense", ""), ("dense int8", "_int8"))
        if f"speedup_mean{ending}" in latency
    ]


def _speedups(latency: Mapping[str, Any], ending: str) -> str:
    spread = latency.get(f"speedups{ending}", {})
    part = {"clean": ("dynamic", latency[f"speedup_mean{ending}"])}
    part |= {attack_title(name): (name, spread[name]["median"]) for name in ATTACKS if name in spread}
    part["all run"] = ("static", latency[f"speedup_worst{ending}"])
    words = []
    for title, (name, median) in part.items():
        quartiles = f" ({spread[name]['low']:.2f}-{spread[name]['high']:.2f})" if name in spread else ""
        words.append(f"{title} {median:.2f}x{quartiles}")
    return ", ".join(words)


def further_lines(report: Mapping[str, Any]) -> list[str]:
    """Further results of an evaluation, a line each."""
    from eed_edge.train.data.duplicates import duplicates_line

    lines = []
    if "adaptive" in report:
        part = report["adaptive"]
        lines.append(
            f"adaptive: dynamic - static {100 * part['difference']:+.2f} points on {part['images']} images"
        )
        lines += [f"warning: {part['warning']}"] if part["warning"] else []
    if "slowdown" in report:
        for key, title in (("uncapped", "slowdown"), ("capped", "slowdown, capped")):
            part = report["slowdown"][key]
            means = ", ".join(f"{name} {part[name]['mean']:.2f}" for name in ("clean", "pgd20", "slowdown"))
            timed = report.get("latency", {}).get("slowdown", {}) if key == "uncapped" else {}
            worst = {**part["slowdown"], **timed}  # as bench timed it
            lines.append(
                f"{title}: sub-models used {means}, at most {worst['max']};"
                f" {worst['mean_ms']:.3f} ms mean, {worst['p99_ms']:.3f} ms p99 under attack"
            )
    if "duplicates" in report:
        lines.append(duplicates_line(report["duplicates"]["pairs"]))
    if "replay" in report:
        part = report["replay"]
        lines.append(
            f"replay: {len(part['disagreements'])} of {part['images']} images answered otherwise than in"
            f" torch, {part['allowed']} allowed"
        )
    return lines


def _prefix_table(prefixes: Mapping[str, Any]) -> str:
    """Accuracy of each prefix mean without early exit, on images attacked against this prefix."""
    rows = {name: prefixes[name] for name in attacks_in_order(prefixes)}
    members = len(next(iter(rows.values()))["right"])
    lines = [
        f"{'prefix %':<12}" + "".join(f"{f'first {t + 1}':>22}" for t in range(members)) + f"{'images':>9}"
    ]
    for name, row in rows.items():
        cells = (
            _share({"right": right, "interval": {"right": bounds}}, "right")
            for right, bounds in zip(row["right"], row["interval"], strict=True)
        )
        lines.append(f"{name:<12}" + "".join(f"{cell:>22}" for cell in cells) + f"{row['images']:>9}")
    return "\n".join(lines)


def _share(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    low, high = row.get("interval", {}).get(name, (None, None))
    spread = f" ({100 * low:.1f}-{100 * high:.1f})" if low is not None else ""
    return f"{100 * row[name]:.2f}{spread}"
