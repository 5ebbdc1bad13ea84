"""Sections on the deployed team under attack: adaptive list, slowdown, settings, torch and exported files."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html.components import Cell, Row, Section, Table, row
from eed_edge.html.inputs import PageInputs
from eed_edge.report import formats
from eed_edge.report.names import attack_title

ON_THE_MEAN = "{} on the mean of all"
"""An attack against the mean of all sub-models alone; in the accuracy table every prefix is attacked."""
SETTINGS = {
    "eps_255": "eps {}/255",
    "steps": "{} steps",
    "restarts": "{} random starts of each loss",
    "losses": "losses: {}",
    "timed_images": "{} images timed",
}


def on_the_mean(name: str) -> str:
    """The title of a row of images that were attacked against the mean of all sub-models."""
    return ON_THE_MEAN.format(attack_title(name)) if name in ("pgd20", "autoattack") else attack_title(name)


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
        f"{len(rows)} attacks that know the team, its sub-models and its gate, on"
        f" {formats.images(part['images'])}. An image is robust only if it is classified correctly unmodified"
        f" and under all of them: dynamic {formats.percent(part['dynamic'])}; the mean of all sub-models,"
        f" under those attacks that aim at it: static {formats.percent(part['static'])}.",
        f"Dynamic − static: {formats.points(part['difference'])}. An early exit cannot be differentiated and"
        " may hide gradients from attacks: a positive difference is an alarm, not a success.",
    )
    columns = ("Attack", "Accuracy", "Computing time")
    table = Table("Correct under this attack and all above", columns, tuple(rows))
    warnings = (part["warning"],) if part.get("warning") else ()
    return Section(sources=("attack",), caption=caption, warnings=warnings, tables=(table,))


def attacks_section(sources: PageInputs) -> Section:
    """Settings, run time and warnings of each attack."""
    rows, warnings = [], []
    for name, part in sources.report["attacks"].items():
        title = attack_title(name)
        words = Cell(settings_words(part["settings"]), mark="text")
        rows.append(Row(title, (words, Cell(formats.seconds(part.get("seconds"))))))
        warnings += [f"{title}: {text}" for text in part.get("warnings", ())]
    table = Table("Settings of the attacks", ("Attack", "Settings", "Computing time"), tuple(rows))
    caption = () if warnings else ("None of the attacks gave a warning.",)
    return Section(sources=("attack",), caption=caption, warnings=tuple(warnings), tables=(table,))


def settings_words(settings: Any) -> str:
    """The settings of an attack in words; those without a form of words keep their name."""
    if not isinstance(settings, Mapping):
        return formats.settings(settings)
    return "; ".join(
        SETTINGS.get(name, f"{name} {{}}").format(formats.settings(value)) for name, value in settings.items()
    )


def slowdown_section(sources: PageInputs) -> Section:
    """Sub-models run and latency under the slowdown attack."""
    part = sources.report["slowdown"]
    cap = part.get("capped", {}).get("max_submodels")
    titles = {"uncapped": "As deployed", "capped": f"At most {cap} sub-model{'' if cap == 1 else 's'}"}
    if own_cap := sources.manifest.gate.max_submodels:
        titles["uncapped"] += f", at most {own_cap} sub-model{'' if own_cap == 1 else 's'}"
    timed = sources.report.get("latency", {})
    tables = tuple(
        _slow_table(titles[key], part[key], timed if key == "uncapped" else {})
        for key in titles
        if part.get(key)
    )
    caption = [
        "Images are changed within eps so that early exit fails: the gate runs as many of the"
        f" {len(sources.manifest.submodels)} sub-models as the attack can make it run. On"
        f" {formats.images(part['images'])}, so clean figures may differ a little from those of all test"
        " images; times are on the scale of the section Speed."
    ]
    if part.get("settings"):
        caption.append(f"Attack: {settings_words(part['settings'])}.")
    return Section(sources=("attack",), caption=tuple(caption), tables=tables)


def _slow_table(caption: str, part: Mapping[str, Any], timed: Mapping[str, Any]) -> Table:
    """One gate's rows; where ``bench`` has timed a row, its times stand here, too."""
    columns = ("Images", "Sub-models used", "Most", "Mean time", "99th percentile", "Accuracy")
    rows = []
    for name in ("clean", "pgd20", "slowdown"):
        if name not in part:
            continue
        times = {**part[name], **timed.get("dynamic" if name == "clean" else name, {})}
        cells = (
            Cell(formats.plain(part[name]["mean"])),
            Cell(formats.count(part[name]["max"])),
            Cell(formats.ms(times.get("mean_ms"))),
            Cell(formats.ms(times.get("p99_ms"))),
            Cell(formats.percent(part[name]["accuracy"]), formats.interval(part[name].get("interval"))),
        )
        rows.append(Row(on_the_mean(name), cells))
    return Table(caption, columns, tuple(rows))


def parity_section(sources: PageInputs) -> Section:
    """Agreement of torch and the exported files on adversarial images."""
    part = sources.report["replay"]
    differ, allowed = part["disagreements"], part["allowed"]
    say = (
        f"{formats.images(part['images'])} made in PyTorch were classified by the exported files, too:"
        f" {formats.count(len(differ))} got another label, {formats.settings(allowed)} allowed, since"
        " rounding in float32 decides near-ties either way."
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
    columns = ("", "Attack", "PyTorch", "Bundle", "Margin")
    tables = (Table("Different labels", columns, tuple(rows), stacked=True),) if rows else ()
    warnings = ("More different labels than allowed.",) if len(differ) > allowed else ()
    return Section(sources=("attack",), caption=(say,), warnings=warnings, tables=tables)
