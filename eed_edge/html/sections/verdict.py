"""The top of the page: a verdict in one sentence and key figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from eed_edge.html import formats, published_figures
from eed_edge.html.components import Row, Section, row
from eed_edge.html.inputs import PageInputs
from eed_edge.report.notes_file import BASE_AT_CHANCE
from eed_edge.report.paired_words import EQUAL_WITHIN, Comparison, comparison

HARDEST = {
    "adaptive": "under the adaptive evaluation",
    "autoattack": "under AutoAttack",
    "apgd": "under APGD",
    "pgd20": "under PGD-20",
}
"""The verdict uses the first of these attacks that was run."""


def headline(sources: PageInputs) -> Section:
    """The headline section: name, verdict, warning if there is one, and key figures."""
    alarm = sources.report.get("adaptive", {}).get("warning")
    notes = dict(sources.notes)
    first = notes.pop(BASE_AT_CHANCE, None)
    warnings = [text for text in (first, alarm, *notes.values()) if text]
    return Section(
        "headline",
        sources.manifest.name,
        caption=(verdict(sources),),
        warnings=tuple(warnings),
        tiles=_tiles(sources),
    )


def verdict(sources: PageInputs) -> str:
    """Summarise the figures in one sentence."""
    report, members = sources.report, len(sources.manifest.submodels)
    parts = [_speed(report["latency"])] if "speedup_mean" in report.get("latency", {}) else []
    accuracy = report.get("accuracy", {})
    hardest = next((name for name in HARDEST if name in accuracy), "")
    for name, good in (("clean", "accurate"), (hardest, "robust")):
        if "dynamic" in accuracy.get(name, {}):
            where = "on clean images" if name == "clean" else HARDEST[name]
            if name == "adaptive" and report.get("suite") == "quick":
                where = "under the quick suite's short attacks"
            paired = report.get("paired", {}).get(name, {}).get("dense")
            parts.append(_right(accuracy[name], good, where, paired))
    team = "team of one small network" if members == 1 else f"team of {members} small networks"
    if not parts:
        return f"A {team}, of which nothing has been measured yet."
    return f"Against the dense network it replaces, this {team} is {_listed(parts)}."


def _speed(latency: Mapping[str, Any]) -> str:
    mean, worst = latency["speedup_mean"], latency.get("speedup_worst")
    text = f"{formats.times(mean)} as fast on average"
    notes = [] if worst is None else [f"{formats.times(worst)} when every sub-model runs"]
    if "speedup_mean_int8" in latency:
        notes.append(f"{formats.times(latency['speedup_mean_int8'])} as fast as that network in int8")
    return f"{text} ({'; '.join(notes)})" if notes else text


def _right(figures: Mapping[str, Any], good: str, where: str, paired: Mapping[str, Any] | None) -> str:
    """Which of the two is more accurate, as far as the paired interval carries it.

    Old reports have none; there, 95 % intervals of the two shares that overlap say nothing.
    """
    share, dense = figures["dynamic"], figures.get("dense")
    if dense is None:
        return f"right on {formats.percent(share)} {where}"
    if paired is None:
        bounds = figures.get("interval", {})
        (low, high), (dense_low, dense_high) = (bounds.get(name, (0, 1)) for name in ("dynamic", "dense"))
        how: Comparison = "more" if low > dense_high else "less" if high < dense_low else "unclear"
        note = "; the intervals overlap" if how == "unclear" else ""
    else:
        how = comparison(paired)
        note = f"; {formats.points(paired['difference'])}, {formats.points_interval(paired['interval'])}"
    words = {
        "more": f"more {good}",
        "less": f"less {good}",
        "equal": f"as {good} within {100 * EQUAL_WITHIN:g} point",
        "unclear": f"not measurably more or less {good}",
    }
    return f"{words[how]} {where} ({formats.percent(share)} against {formats.percent(dense)}{note})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tiles(sources: PageInputs) -> tuple[Row, ...]:
    report, latency = sources.report, sources.report.get("latency", {})
    paper = published_figures.published(report.get("recipe") if sources.attacked else None)
    tiles = []
    if "speedup_mean" in latency:
        note = f"over dense; paper {formats.times(paper.speed)}" if paper else "over dense"
        tiles.append(row("speed-up, mean", formats.times(latency["speedup_mean"]), detail=note))
    if "speedup_mean_int8" in latency:
        mean = formats.times(latency["speedup_mean_int8"])
        tiles.append(row("speed-up, mean", mean, detail="over dense int8"))
    if "speedup_worst" in latency:
        worst = formats.times(latency["speedup_worst"])
        tiles.append(row("speed-up, worst", worst, detail="every sub-model run"))
    if "sparsity" in report:
        note = (
            f"paper {formats.percent(published_figures.SPARSITY)}"
            if paper
            else "of parameters and MACs, the smaller"
        )
        tiles.append(row("sparsity", formats.percent(report["sparsity"]), detail=note))
    for key, title in (("params", "parameters"), ("macs", "MACs")):
        if key in report.get("cost", {}):
            sizes = report["cost"][key]
            note = f"dense {formats.amount(sizes['dense'])}"
            tiles.append(row(title, formats.amount(sizes["ensemble"]), detail=note))
    return tuple(tiles)
