"""The main results: accuracy beside the paper's, prefixes, speed and size."""

import itertools
from collections.abc import Mapping
from typing import Any

from eed_edge.html import formats, published_figures
from eed_edge.html.components import (
    ATTACK,
    Cell,
    Row,
    Section,
    Table,
    row,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import paired_differences
from eed_edge.provenance import BASELINES
from eed_edge.report.names import NETWORKS, attack_title, attacks_in_order
from eed_edge.runtime.measure.conditions import busy_warning, conditions_line

MEANING = {
    "dense": "the adversarially trained base network that is replaced",
    "dense_int8": "that network quantised, which one would use instead",
    "single": "one network pruned from the base to the same mean latency",
    "narrow": "one narrower network of the same mean latency, trained from new weights",
    "static": "the mean of all sub-models",
    "dynamic": "the deployed rule, which stops when it is sure",
}
QUARTILES = {"mean_ms": ("mean_low_ms", "mean_high_ms"), "p50_ms": ("p25_ms", "p75_ms")}
OVER = {"speedups": "dense", "speedups_int8": "dense int8"}
SPEEDUPS = {
    "dynamic": "speed-up, clean",
    "pgd20": "speed-up, PGD-20",
    "slowdown": "speed-up, slow-down attack",
    "static": "speed-up, all run",
}


def share(figures: Mapping[str, Any], name: str) -> Cell:
    """An accuracy with its interval."""
    bounds = figures.get("interval", {}).get(name)
    return Cell(formats.percent(figures.get(name)), formats.interval(bounds))


def accuracy_section(sources: PageInputs) -> Section:
    """Clean and adversarial accuracy of each network, beside the paper's."""
    report, recipe = sources.report, sources.report.get("recipe")
    figures, paper = report["accuracy"], published_figures.published(recipe if sources.attacked else None)
    shown = [name for name in NETWORKS if any(name in row for row in figures.values())]
    rows = []
    for name in attacks_in_order(figures):
        cells = [share(figures[name], network) for network in shown]
        if paper is not None:
            cells += [
                Cell(formats.percent(part.get(name)), mark="paper") for part in (paper.dense, paper.eed)
            ]
        rows.append(Row(attack_title(name), tuple(cells), formats.images(figures[name]["images"])))
    published = ("Paper: dense", "Paper: EED") if paper is not None else ()
    columns = ("", *(NETWORKS[name] for name in shown), *published)
    attacked = sources.attacked or len(figures) > 1
    caption = [
        "Share of test images that are answered right, and its 95 % Wilson interval. ",
        " ".join(f"{NETWORKS[name]}: {_meaning(sources, name)}." for name in shown),
    ]
    if attacked:
        caption[0] += "An image counts under an attack only if it is right when clean, too. "
        caption.append(published_figures.note(recipe))
    if recipe is not None and attacked:
        caption[0] += f"Attacks stay within l∞ {recipe['base']['eps_255']:g}/255 unless they say otherwise."
    if report.get("suite") == "quick":
        caption.append(
            f"These are the quick suite's short attacks, a first look; the whole evaluation: {ATTACK}."
        )
    tables = [Table("Right answers", columns, tuple(rows), stacked=True)]
    if "paired" in report:
        caption.append(paired_differences.PAIRED_CAPTION)
        tables.append(paired_differences.paired_differences_table(report["paired"]))
    return Section("accuracy", "Accuracy", caption=tuple(caption), tables=tuple(tables))


def _meaning(sources: PageInputs, name: str) -> str:
    """The meaning of a column; for a baseline it depends on its training budget."""
    figures = sources.report.get(name, {})
    if name == "dense" and not sources.attacked:
        return "the base network that is replaced"
    if name in BASELINES and figures.get("budget", {}).get("epochs_by_hand"):
        return f"{MEANING[name]}, for {figures['epochs']} epochs set by hand"
    return MEANING[name]


def speed_section(sources: PageInputs) -> Section:
    """Latency of each network and the speed-up of the team."""
    report, latency = sources.report, sources.report["latency"]
    shown = [name for name in NETWORKS if name in latency]
    rows = [
        Row(title, tuple(_with_quartiles(latency[name], key) for name in shown))
        for key, title in (("mean_ms", "mean"), ("p50_ms", "median"), ("p90_ms", "p90"), ("p99_ms", "p99"))
    ]
    table = Table("Time per image", ("", *(NETWORKS[name] for name in shown)), tuple(rows), stacked=True)
    cpu = f" on {report['machine']['cpu']}" if "machine" in report else ""
    threads = latency["threads"]
    caption = [f"{threads} thread{'' if threads == 1 else 's'}{cpu}, {formats.images(latency['images'])}."]
    if latency.get("indicative"):
        caption.append("Timed on the bundle's golden images alone: indicative only.")
    conditions, warning = latency.get("conditions"), ""
    if conditions is not None:
        caption.append(
            "Small: quartiles, of the rounds' means beside a mean and of all calls beside a median."
        )
        caption.append(f"Timed at {conditions_line(conditions)}.")
        warning = busy_warning(conditions)
    return Section(
        "latency",
        "Speed",
        caption=tuple(caption),
        warnings=(warning,) if warning else (),
        tiles=_speed_tiles(sources),
        tables=(table,),
    )


def _with_quartiles(times: Mapping[str, float], key: str) -> Cell:
    """A time with its quartiles, which reports of the earlier clock lack."""
    low, high = QUARTILES.get(key, ("", ""))
    detail = f"{formats.plain(times[low])}–{formats.plain(times[high])}" if low in times else ""
    return Cell(formats.ms(times[key]), detail)


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
    columns = ("", *map(attack_title, kinds), "Time")
    on = ", ".join(f"{attack_title(name)} {formats.images(part[name]['images'])}" for name in kinds)
    own = ", attacked on its own" if len(kinds) > 1 else ""
    caption = (
        f"The mean of the first sub-models of the running order when nothing stops early{own};"
        f" the time is that of the first ones run one after another. {on}.",
    )
    table = Table("Right answers of every prefix", columns, tuple(rows), stacked=True)
    return Section("prefixes", "Fewer sub-models", caption=caption, tables=(table,))


def _entry(part: Mapping[str, Any], t: int) -> dict[str, Any]:
    """The figures of the first ``t`` in the form of a row of ``accuracy``."""
    return {"right": part["right"][t - 1], "interval": {"right": part["interval"][t - 1]}}


def _speed_tiles(sources: PageInputs) -> tuple[Row, ...]:
    latency, tiles = sources.report["latency"], []
    for name, used in sources.report.get("submodels_used", {}).items():
        title = f"sub-models used, {attack_title(name)}"
        tiles.append(row(title, formats.plain(used), detail=f"of {len(sources.manifest.submodels)}"))
    for (name, title), (key, over) in itertools.product(SPEEDUPS.items(), OVER.items()):
        if part := latency.get(key, {}).get(name):
            spread = f"over {over}, {formats.times(part['low'])} to {formats.times(part['high'])}"
            tiles.append(row(title, formats.times(part["median"]), detail=spread))
    for key, title, form in (
        ("overhead_ratio", "overhead", formats.times),
        ("load_ms", "load", formats.ms),
        ("first_answer_ms", "first answer", formats.ms),
        ("mean_rss_mib", "mean memory, MiB", formats.plain),
        ("peak_rss_mib", "peak memory, MiB", formats.plain),
        ("disk_bytes", "on disk", formats.mib),
    ):
        value = latency.get(key)
        if isinstance(value, Mapping):
            dense = f"dense {form(value['dense'])}" if "dense" in value else ""
            tiles.append(row(title, form(value.get("ensemble")), detail=dense))
        elif value is not None:
            tiles.append(row(title, form(value), detail="over the bare sub-models"))
    if rates := latency.get("images_per_second"):
        dense = f"dense {formats.plain(rates['dense'])}" if "dense" in rates else ""
        tiles.append(row("images a second", formats.plain(rates["dynamic"]), detail=dense))
    return tuple(tiles)


def size_section(sources: PageInputs) -> Section:
    """Parameters, MACs and bytes of the dense base, the team and each member."""
    report, cost = sources.report, sources.report["cost"]
    form = {"params": formats.amount, "macs": formats.amount, "bytes": formats.mib}
    titles = {"params": "Parameters", "macs": "MACs", "bytes": "File"}
    keys = [key for key in titles if key in cost]
    members = len(sources.manifest.submodels)
    rows = [row("dense", *(form[key](cost[key]["dense"]) for key in keys))]
    if "dense_int8" in cost.get("bytes", {}):
        rows.append(row("dense int8", *(form[key](cost[key].get("dense_int8")) for key in keys)))
    rows += [
        row(name, *(form[key](report[name].get(key)) for key in keys)) for name in BASELINES if name in report
    ]
    rows.append(row("whole team", *(form[key](cost[key]["ensemble"]) for key in keys)))
    for i, entry in enumerate(sources.manifest.submodels):
        made = f"{entry.importance}, subset {entry.subset}"
        rows.append(
            row(f"sub-model {i + 1}", *(form[key](cost[key]["each"][i]) for key in keys), detail=made)
        )
    tiles = []
    if "rd" in report:
        tiles.append(row("robust diversity", f"{report['rd']:.3f}", detail="1: no two fail together"))
    gate = sources.manifest.gate
    parameters = formats.settings(gate.parameters_of(gate.rule))
    caption = (f"{members} sub-models in running order; gate {gate.rule}, {parameters}.",)
    table = Table("Parameters, MACs and files", ("", *(titles[key] for key in keys)), tuple(rows))
    return Section("cost", "Size", caption=caption, tiles=tuple(tiles), tables=(table,))
