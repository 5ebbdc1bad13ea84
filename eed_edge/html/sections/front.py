"""The top of the page: verdict, date and machine of the measurement, key figures, a row for each rival."""

from datetime import date
from typing import Any

from eed_edge.html import published_figures
from eed_edge.html.components import Cell, Front, Row, Table, row
from eed_edge.html.inputs import PageInputs
from eed_edge.report import formats
from eed_edge.report.differences import HARDEST, RIVALS, Difference, differences, robustness_attacks
from eed_edge.report.names import NETWORKS
from eed_edge.report.notes_file import BASE_AT_CHANCE
from eed_edge.report.verdict import verdict

MARKS = {"better": "▲ ", "worse": "▼ ", "same": "≈ "}
ASIDE = ("dense", "dense_int8", "narrow", "single")
"""Networks whose figures stand small beside the team's in a tile."""


def front(sources: PageInputs) -> Front:
    """The top of the page."""
    report, notes = sources.report, dict(sources.notes)
    answer = verdict(report, precision=sources.manifest.precision, notes=notes)
    alarm = report.get("adaptive", {}).get("warning")
    warnings = (notes.pop(BASE_AT_CHANCE, None), _not_robust(sources), alarm, *notes.values())
    return Front(
        answer.answer,
        answer.why,
        _facts(sources),
        tuple(text for text in warnings if text),
        _tiles(sources),
        _rivals_table(report),
    )


def _not_robust(sources: PageInputs) -> str:
    """A sentence if a team that was trained under attack is no better under the hardest one than guessing."""
    attack, classes = next(robustness_attacks(sources.report), None), len(sources.manifest.classes)
    if attack is None or not sources.attacked:
        return ""
    share = sources.report["accuracy"][attack]["dynamic"]
    if share > 1 / classes:
        return ""
    return (
        f"under {HARDEST[attack]} the team is right on {formats.percent(share)}, no more than guessing among"
        f" {classes} classes; do not rely on its robustness"
    )


def _facts(sources: PageInputs) -> str:
    """Date, processor, threads and mean time, as far as the report has them."""
    report = sources.report
    machine, latency = report.get("machine", {}), report.get("latency", {})
    facts = []
    if "date" in machine:
        day = date.fromisoformat(machine["date"])
        facts.append(f"Measured {day.day} {day:%B %Y}")
    elif machine:
        facts.append("Date not recorded")
    if "dynamic" in latency:
        facts.append(f"{formats.ms(latency['dynamic']['mean_ms'])} an image on average")
    if "cpu" in machine:
        facts.append(f"{machine['cpu']}, {machine['cores']} cores")
    if "threads" in latency:
        threads = latency["threads"]
        facts.append(f"{threads} thread{'' if threads == 1 else 's'}, batch {latency.get('batch', 1)}")
    members = len(sources.manifest.submodels)
    facts.append(f"team of {members} sub-model{'' if members == 1 else 's'}, {sources.manifest.precision}")
    return " · ".join(facts)


def _tiles(sources: PageInputs) -> tuple[Row, ...]:
    report = sources.report
    latency, cost, accuracy = (report.get(key, {}) for key in ("latency", "cost", "accuracy"))
    tiles = []
    if "dynamic" in (clean := accuracy.get("clean", {})):
        tiles.append(_accuracy_tile("clean accuracy", clean))
    if attack := next(robustness_attacks(report), None):
        tiles.append(_accuracy_tile(f"accuracy under {HARDEST[attack]}", accuracy[attack]))
    if "dynamic" in latency:
        means = {name: formats.ms(latency[name]["mean_ms"]) for name in ASIDE if name in latency}
        tiles.append(
            row("mean time per image", formats.ms(latency["dynamic"]["mean_ms"]), detail=_aside(means))
        )
    if "speedup_mean" in latency:
        tiles.append(_speed_tile(sources, latency))
    if "bytes" in cost:
        sizes = cost["bytes"]
        others = {name: formats.mib(sizes[name]) for name in ASIDE if name in sizes}
        tiles.append(row("model files", formats.mib(sizes["ensemble"]), detail=_aside(others)))
    if "macs" in cost:
        others = {"dense": formats.amount(cost["macs"]["dense"])}
        others |= {
            name: formats.amount(report[name]["macs"]) for name in ASIDE if "macs" in report.get(name, {})
        }
        title = "MACs, all sub-models"
        tiles.append(row(title, formats.amount(cost["macs"]["ensemble"]), detail=_aside(others)))
    return tuple(tiles)


def _accuracy_tile(title: str, figures: dict[str, Any]) -> Row:
    others = {name: formats.percent(figures[name]) for name in ASIDE if name in figures}
    on = formats.images(figures["images"])
    return row(
        title, formats.percent(figures["dynamic"]), detail=f"{_aside(others)}; {on}".removeprefix("; ")
    )


def _speed_tile(sources: PageInputs, latency: dict[str, Any]) -> Row:
    paper = published_figures.published(sources.report.get("recipe") if sources.attacked else None)
    notes = []
    if "speedup_mean_int8" in latency:
        notes.append(f"{formats.times(latency['speedup_mean_int8'])} over dense int8")
    if "speedup_worst" in latency:
        notes.append(f"{formats.times(latency['speedup_worst'])} if all sub-models run")
    notes += [f"paper {formats.times(paper.speed)}"] if paper else []
    return row("speed relative to dense", formats.times(latency["speedup_mean"]), detail="; ".join(notes))


def _aside(texts: dict[str, str]) -> str:
    return ", ".join(f"{NETWORKS[name].lower()} {text}" for name, text in texts.items())


def _rivals_table(report: Any) -> Table | None:
    """A row for each rival that was measured; the team's side of every difference."""
    by_rival = {name: {each.axis: each for each in differences(report, name)} for name in RIVALS}
    measured = {name: by_axis for name, by_axis in by_rival.items() if by_axis}
    titles = {"clean": "Clean accuracy", "robust": "Robustness", "speed": "Speed"}
    axes = [axis for axis in titles if any(axis in by_axis for by_axis in measured.values())]
    if not measured:
        return None
    rows = tuple(
        Row(
            RIVALS[name].removeprefix("the "),
            tuple(_difference(by_axis.get(axis)) for axis in axes),  # type: ignore[call-overload]
        )
        for name, by_axis in measured.items()
    )
    return Table("The team compared with", ("", *(titles[axis] for axis in axes)), rows, stacked=True)


def _difference(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell(formats.NOTHING, "not measured")
    spread = f" ({difference.interval})" if difference.interval else ""
    on = f", {formats.images(difference.images)}" if difference.images else ""
    return Cell(
        MARKS[difference.outcome] + difference.words,
        f"{difference.team} against {difference.rival}{spread}{on}",
        {"better": "right", "worse": "wrong", "same": ""}[difference.outcome],
    )
