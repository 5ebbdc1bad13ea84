"""The baselines: static networks of the team's mean time, their size, training and budget."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html.components import Row, Section, Table, row
from eed_edge.html.inputs import PageInputs
from eed_edge.provenance import BASELINES
from eed_edge.report import formats
from eed_edge.report.names import NETWORKS

STAGES = {
    "base": "base network",
    "scores": "score search",
    "pool": "candidates",
    "joint": "joint training",
    "total": "whole run",
    "narrow": "narrow network, at most",
    "single": "single network, at most",
}


def baselines_section(sources: PageInputs) -> Section:
    """The static networks of the team's mean latency: size, training and budget, a column each."""
    shown = {name: sources.report[name] for name in BASELINES if name in sources.report}
    columns = ("", *(NETWORKS[name] for name in shown))
    figures = (
        row("parameters", *(formats.amount(each.get("params")) for each in shown.values())),
        row("MACs", *(formats.amount(each.get("macs")) for each in shown.values())),
        row("time relative to the team's, when the widths were chosen", *map(_matched, shown.values())),
        *_in_bench(sources, list(shown)),
        row("epochs trained", *(formats.settings(each.get("epochs")) for each in shown.values())),
        row("epochs at most", *(_most_epochs(each.get("budget") or {}) for each in shown.values())),
    )
    budgets = {name: (each.get("budget") or {}) for name, each in shown.items()}
    stages = dict.fromkeys(stage for budget in budgets.values() for stage in budget.get("macs", {}))
    spent = tuple(
        row(
            STAGES.get(stage, stage),
            *(formats.amount(budget.get("macs", {}).get(stage)) for budget in budgets.values()),
        )
        for stage in stages
    )
    counted = [f"Budget: {budget['counted']}." for budget in budgets.values() if "counted" in budget]
    caption = (
        "Narrow has fewer channels everywhere and is trained from scratch; Single is pruned from the base."
        " Both answer whether a team is better than one network of its time.",
        *dict.fromkeys(counted),
    )
    tables = [Table("Baselines of equal latency", columns, figures)]
    tables += [Table("Training cost, MACs", columns, spent)] if spent else []
    return Section(sources=tuple(shown), caption=caption, tables=tuple(tables))


def _matched(figures: Mapping[str, Any]) -> str:
    mean, target = figures.get("mean_ms"), figures.get("target_ms")
    return formats.times(mean / target if mean and target else None)


def _in_bench(sources: PageInputs, names: list[str]) -> list[Row]:
    latency = sources.report.get("latency", {})
    if "dynamic" not in latency or not any(name in latency for name in names):
        return []
    ratios = []
    for name in names:
        ratio = latency.get(f"{name}_over_dynamic", {}).get("median")
        if ratio is None and name in latency:
            ratio = latency[name]["mean_ms"] / latency["dynamic"]["mean_ms"]
        ratios.append(formats.times(ratio))
    return [row("time relative to the team's, in bench", *ratios)]


def _most_epochs(budget: Mapping[str, Any]) -> str:
    """The most epochs that a baseline may have had, and whether a user set them."""
    by_hand = ", set by hand" if budget.get("epochs_by_hand") else ""
    return (
        f"{budget['epochs']}{by_hand}"
        if "epochs" in budget
        else by_hand.removeprefix(", ") or formats.NOTHING
    )
