"""The main results: accuracy with paired differences, the paper's figures, and accuracy by sub-models run."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html import published_figures
from eed_edge.html.components import Cell, Row, Section, Table
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import paired_differences
from eed_edge.provenance import BASELINES
from eed_edge.report import formats
from eed_edge.report.names import NETWORKS, attack_title, attacks_in_order

MEANING = {
    "dense": "the adversarially trained base network that the team was pruned from",
    "dense_int8": "that network in int8",
    "single": "one network pruned from the base to the team's mean time",
    "narrow": "one narrower network of the team's mean time, trained from scratch",
    "static": "the mean of all sub-models, no early exit",
    "dynamic": "the team as deployed, with early exit",
}


def share(figures: Mapping[str, Any], name: str) -> Cell:
    """An accuracy with its interval."""
    bounds = figures.get("interval", {}).get(name)
    return Cell(formats.percent(figures.get(name)), formats.interval(bounds))


def accuracy_section(sources: PageInputs) -> Section:
    """Clean and adversarial accuracy of each network, the paired differences, and the paper's figures."""
    report = sources.report
    figures = report["accuracy"]
    shown = [name for name in NETWORKS if any(name in row for row in figures.values())]
    rows = tuple(
        Row(
            attack_title(name),
            tuple(share(figures[name], network) for network in shown),
            formats.images(figures[name]["images"]),
        )
        for name in attacks_in_order(figures)
    )
    tables = [Table("Accuracy", ("", *(NETWORKS[name] for name in shown)), rows, stacked=True)]
    caption = ["Share of test images that are classified correctly; small: its 95 % Wilson interval."]
    attacked = sources.attacked or len(figures) > 1
    if attacked:
        caption[0] += _attack_words(sources)
    caption.append(" ".join(f"{NETWORKS[name]}: {_meaning(sources, name)}." for name in shown))
    if "paired" in report:
        caption.append(paired_differences.PAIRED_CAPTION)
        tables.append(paired_differences.paired_differences_table(report["paired"]))
    if attacked:
        tables += published_table(sources)
    return Section(sources=("attack",), caption=tuple(caption), tables=tuple(tables))


def _attack_words(sources: PageInputs) -> str:
    report, recipe = sources.report, sources.report.get("recipe")
    words = (
        " Under an attack, an image counts only if it is also correct unmodified; Dynamic is attacked through"
        " every prefix of its sub-models. Adaptive: correct under every attack that knows the team and its"
        " gate."
    )
    if recipe is not None:
        words += f" Attack radius: l∞ {recipe['base']['eps_255']:g}/255 unless said otherwise."
    if report.get("suite") == "quick":
        words += " These are the short attacks of the suite quick: a first look, not a claim."
    return words


def published_table(sources: PageInputs) -> list[Table]:
    """The paper's figures for this architecture and data set, if it has any."""
    recipe = sources.report.get("recipe")
    paper = published_figures.published(recipe)
    if paper is None:
        return []
    rows = tuple(
        Row(
            attack_title(name),
            (Cell(formats.percent(paper.dense[name])), Cell(formats.percent(paper.eed[name]))),
        )
        for name in paper.dense
    )
    columns, note = ("", "Paper: dense", "Paper: EED"), published_figures.note(recipe)
    return [Table("The paper's figures", columns, rows, folded=True, note=note)]


def _meaning(sources: PageInputs, name: str) -> str:
    """The meaning of a column; for a baseline it depends on its training budget."""
    figures = sources.report.get(name, {})
    if name == "dense" and not sources.attacked:
        return MEANING[name].replace("adversarially trained ", "")
    if name in BASELINES and figures.get("budget", {}).get("epochs_by_hand"):
        return f"{MEANING[name]}, for {figures['epochs']} epochs set by hand"
    return MEANING[name]


def prefixes_section(sources: PageInputs) -> Section:
    """Accuracy of each prefix mean without early exit, under attacks on itself."""
    part, latency = sources.report["prefixes"], sources.report.get("latency", {})
    kinds = attacks_in_order(part)
    timed = [times["mean_ms"] for times in latency.get("prefixes", ())]
    rows = [
        Row(
            f"first {t + 1}",
            (
                *(share(_entry(part[name], t + 1), "right") for name in kinds),
                Cell(formats.ms(timed[t] if timed else None)),
            ),
        )
        for t in range(len(sources.manifest.submodels))
    ]
    columns = ("Sub-models", *map(attack_title, kinds), "Mean time")
    on = ", ".join(f"{attack_title(name)} {formats.images(part[name]['images'])}" for name in kinds)
    attack_note = " Each mean is attacked on its own." if len(kinds) > 1 else ""
    caption = (
        "Accuracy of the mean of the first 1, 2, … sub-models, always all of them, without early exit: what a"
        f" limit on sub-models gives.{attack_note} The time is that of these sub-models one after another."
        f" {on}.",
    )
    table = Table("Accuracy by number of sub-models", columns, tuple(rows))
    return Section(sources=("attack", "bench"), caption=caption, tables=(table,))


def _entry(part: Mapping[str, Any], t: int) -> dict[str, Any]:
    """The figures of the first ``t`` in the form of a row of ``accuracy``."""
    return {"right": part["right"][t - 1], "interval": {"right": part["interval"][t - 1]}}
