"""Sections on the deployed rule: adaptive attack, slowdown, parity, shift, and on the baselines."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html import formats
from eed_edge.html.components import (
    Cell,
    Row,
    Section,
    Table,
    row,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.provenance import BASELINES
from eed_edge.report.names import NETWORKS, attack_title


def adaptive_section(sources: PageInputs) -> Section:
    """Each item of the adaptive list, and dynamic minus static accuracy."""
    part = sources.report["adaptive"]
    rows = [
        Row(
            item["name"],
            (
                Cell(formats.percent(item["dynamic"]), formats.interval(item.get("interval"))),
                Cell(formats.seconds(item.get("seconds"))),
            ),
            "; ".join(item.get("warnings", ())),
        )
        for item in part["items"]
    ]
    caption = (
        f"The deployed rule, run on the exported files, against {len(rows)} attacks on"
        f" {formats.images(part['images'])}. An image is robust only if it is right clean and under all of"
        f" them: dynamic {formats.percent(part['dynamic'])}. The mean of all sub-models, under the items"
        f" that attack it: static {formats.percent(part['static'])}.",
        f"Dynamic − static: {formats.points(part['difference'])}. A stop that cannot be differentiated can"
        " hide gradients, so a positive difference is an alarm, not a success.",
    )
    table = Table("Right clean, under this attack and those above", ("", "Dynamic", "Time"), tuple(rows))
    warnings = (part["warning"],) if part.get("warning") else ()
    return Section("adaptive", "Adaptive evaluation", caption=caption, warnings=warnings, tables=(table,))


def attacks_section(sources: PageInputs) -> Section:
    """Settings, run time and warnings of each attack."""
    rows, warnings = [], []
    for name, part in sources.report["attacks"].items():
        title = attack_title(name)
        words = Cell(formats.settings(part["settings"]), mark="text")
        rows.append(Row(title, (words, Cell(formats.seconds(part.get("seconds"))))))
        warnings += [f"{title}: {text}" for text in part.get("warnings", ())]
    table = Table("Settings", ("", "Settings", "Time"), tuple(rows))
    caption = () if warnings else ("None of the attacks gave a warning.",)
    return Section("attacks", "Attacks", caption=caption, warnings=tuple(warnings), tables=(table,))


def slowdown_section(sources: PageInputs) -> Section:
    """Sub-models run and latency under the slowdown attack."""
    part = sources.report["slowdown"]
    cap = part.get("capped", {}).get("max_submodels")
    titles = {"uncapped": "No cap", "capped": f"At most {cap} sub-model{'' if cap == 1 else 's'}"}
    tables = tuple(_slow_table(titles[key], part[key]) for key in titles if part.get(key))
    caption = [
        f"Images within eps made so that the gate runs as many of the {len(sources.manifest.submodels)}"
        f" sub-models as it can, on {formats.images(part['images'])}."
    ]
    if part.get("settings"):
        caption.append(f"Attack: {formats.settings(part['settings'])}.")
    return Section("slowdown", "Slowdown attack", caption=tuple(caption), tables=tables)


def _slow_table(caption: str, part: Mapping[str, Any]) -> Table:
    columns = ("", "Sub-models", "Most", "Mean time", "p99 time", "Accuracy")
    rows = [
        Row(
            attack_title(name),
            (
                Cell(formats.plain(part[name]["mean"])),
                Cell(formats.count(part[name]["max"])),
                Cell(formats.ms(part[name].get("mean_ms"))),
                Cell(formats.ms(part[name].get("p99_ms"))),
                Cell(formats.percent(part[name]["accuracy"]), formats.interval(part[name].get("interval"))),
            ),
        )
        for name in ("clean", "pgd20", "slowdown")
        if name in part
    ]
    return Table(caption, columns, tuple(rows), stacked=True)


def parity_section(sources: PageInputs) -> Section:
    """Agreement of torch and the exported files on adversarial images."""
    part = sources.report["replay"]
    differ, allowed = part["disagreements"], part["allowed"]
    say = (
        f"{formats.images(part['images'])} made in torch were given to the exported bundle:"
        f" {formats.count(len(differ))} answered otherwise; {formats.settings(allowed)} allowed, since"
        " near-ties fall either way in float32."
    )
    rows = [
        row(
            f"image {item['image']}",
            attack_title(item["attack"]),
            sources.class_name(item["torch"]),
            sources.class_name(item["bundle"]),
            f"{item['margin']:.1e}" if item.get("margin") is not None else formats.NOTHING,
        )
        for item in differ
    ]
    columns = ("", "Attack", "torch", "Bundle", "Margin")
    tables = (Table("Disagreements", columns, tuple(rows), stacked=True),) if rows else ()
    warnings = ("More disagreements than allowed.",) if len(differ) > allowed else ()
    return Section("replay", "Replay on the exported files", caption=(say,), warnings=warnings, tables=tables)


_ABSTAINED = ("Abstained, right", "Abstained, wrong")


def shift_section(sources: PageInputs) -> Section:
    """Accuracy, sub-models used and calibration on corrupted images and on images of no class."""
    part = sources.report["shift"]
    columns = ("", "Accuracy", "Sub-models", "ECE", *_ABSTAINED)
    rows = [_shift_row("clean", part["clean"])]
    rows += [_shift_row(attack_title(item["name"]), item) for item in part.get("attacked", ())]
    rows += [_shift_row(f"{item['name']} {item['strength']}", item) for item in part["corruptions"]]
    shown = "Attacked and corrupted images" if part.get("attacked") else "Corrupted images"
    tables = [Table(f"{shown}; strength 1, 2, 3", columns, tuple(rows))]
    if part.get("no_class"):
        none = [
            row(
                item["name"],
                formats.plain(item["submodels_used"]),
                formats.percent(item["confidence"]),
                formats.percent(item.get("abstained")),
                detail=formats.images(item["images"]),
            )
            for item in part["no_class"]
        ]
        tables.append(
            Table("Images of no class", ("", "Sub-models", "Mean confidence", "Abstained"), tuple(none))
        )
    say = (
        f"The deployed rule on {formats.images(part['images'])} unlike those it was calibrated on. ECE, the"
        " expected calibration error, is how far confidence is from accuracy. Abstained: the share of the"
        " right, and of the wrong, answers below the bundle's threshold."
    )
    return Section("shift", "Away from the calibration data", caption=(say,), tables=tuple(tables))


def _shift_row(title: str, item: Mapping[str, Any]) -> Row:
    accuracy = Cell(formats.percent(item["accuracy"]), formats.interval(item.get("interval")))
    shares = (item["ece"], item.get("abstained_right"), item.get("abstained_wrong"))
    return Row(
        title,
        (accuracy, Cell(formats.plain(item["submodels_used"])), *(Cell(formats.percent(x)) for x in shares)),
    )


def baselines_section(sources: PageInputs) -> Section:
    """The static networks of the team's mean latency: size, training and budget, a column each."""
    shown = {name: sources.report[name] for name in BASELINES if name in sources.report}
    columns = ("", *(NETWORKS[name] for name in shown))
    figures = [
        row("parameters", *(formats.amount(each.get("params")) for each in shown.values())),
        row("MACs", *(formats.amount(each.get("macs")) for each in shown.values())),
        row("mean time", *(formats.ms(each.get("mean_ms")) for each in shown.values())),
        row("time to equal", *(formats.ms(each.get("target_ms")) for each in shown.values())),
        row("epochs", *(formats.settings(each.get("epochs")) for each in shown.values())),
        row("at most", *(_most_epochs(each.get("budget") or {}) for each in shown.values())),
    ]
    budgets = {name: (each.get("budget") or {}) for name, each in shown.items()}
    stages = dict.fromkeys(stage for budget in budgets.values() for stage in budget.get("macs", {}))
    spent = tuple(
        row(stage, *(formats.amount(budget.get("macs", {}).get(stage)) for budget in budgets.values()))
        for stage in stages
    )
    counted = [f"Budget: {budget['counted']}." for budget in budgets.values() if "counted" in budget]
    caption = (
        "One static network each, without ensemble and gate, of the team's mean latency.",
        *dict.fromkeys(counted),
    )
    tables = [Table("Size and training", columns, tuple(figures))]
    tables += [Table("MACs of the trainings, at most", columns, spent)] if spent else []
    return Section("narrow", "Networks of the same latency", caption=caption, tables=tuple(tables))


def _most_epochs(budget: Mapping[str, Any]) -> str:
    """The most epochs that a baseline may have had, and whether a user set them."""
    by_hand = ", set by hand" if budget.get("epochs_by_hand") else ""
    return f"{budget['epochs']}{by_hand}" if "epochs" in budget else by_hand.removeprefix(", ") or "–"
