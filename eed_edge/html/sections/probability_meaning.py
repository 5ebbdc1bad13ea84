"""Meaning of a probability: calibration error on clean, attacked and out-of-distribution images."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html.components import Cell, Row, Section, Table, row
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections.attacked import on_the_mean
from eed_edge.report import formats

CORRUPTIONS = {"jpeg": "JPEG"}
TRUSTED = 0.05
"""An expected calibration error above this is said to be large."""


def meaning_section(sources: PageInputs) -> Section:
    """The meaning of a probability in plain words, and the calibration error on test images."""
    part, manifest = sources.report["shift"], sources.manifest
    clean = part["clean"]
    before, after = clean.get("ece_uncalibrated"), clean["ece"]
    if manifest.temperatures is None:
        meaning = (
            "This bundle's probabilities are not calibrated: 0.90 does not mean that 90 % of such answers are"
            " right, only that they are surer than 0.80. Exporting again calibrates them."
        )
    else:
        meaning = (
            "A probability of 0.90 is meant to say: of 100 such answers, 90 are right. This holds on images"
            " like those of the data set, for the gate as exported; not"
            + (" under attack, nor" if len(sources.report["accuracy"]) > 1 else "")
            + " on images of another kind."
        )
    measured = (
        f"On {formats.images(_clean_images(part))} of test, probability and share of right answers differ by"
        f" {formats.points_apart(after)} on average (expected calibration error, ECE"
        + (f"; {formats.points_apart(before)} before calibration" if before is not None else "")
        + ")."
    )
    warnings = []
    if after > TRUSTED:
        warnings.append(
            f"The calibration error on clean test images is large, {formats.points_apart(after)}: use the"
            " probabilities to rank answers, not as chances."
        )
    worst = max(part.get("attacked", ()), key=lambda item: item["ece"], default=None)
    if worst is not None:
        measured += (
            f" Under {on_the_mean(worst['name'])} sub-models it is {formats.points_apart(worst['ece'])}."
        )
    caption = [meaning, measured, *_abstained_words(sources, clean)]
    return Section(sources=("attack",), caption=tuple(caption), warnings=tuple(warnings))


def _abstained_words(sources: PageInputs, clean: Mapping[str, Any]) -> list[str]:
    abstain = sources.manifest.abstain
    if abstain is None or clean.get("abstained_right") is None:
        return []
    wrong = clean["abstained_wrong"]
    of_wrong = "" if wrong is None else f" and {formats.percent(wrong)} of the wrong ones"
    return [
        f"Answers below {abstain.threshold:.5g} are marked as abstained, to be doubted: on clean images"
        f" {formats.percent(clean['abstained_right'])} of the right answers{of_wrong}."
    ]


def shift_section(sources: PageInputs) -> Section:
    """Accuracy, sub-models used and calibration on attacked, corrupted and out-of-distribution images."""
    part = sources.report["shift"]
    before = ("ECE before",) if "ece_uncalibrated" in part["clean"] else ()
    abstained = ("Abstained, of right", "Abstained, of wrong") if "abstained_right" in part["clean"] else ()
    columns = ("Images", "Accuracy", "Sub-models used", "ECE", *before, *abstained)
    items = [("Clean", part["clean"])]
    items += [(on_the_mean(item["name"]), item) for item in part.get("attacked", ())]
    items += [
        (f"{CORRUPTIONS.get(item['name'], item['name'].capitalize())}, strength {item['strength']}", item)
        for item in part["corruptions"]
    ]
    rows = tuple(_shift_row(title, item, bool(before), bool(abstained)) for title, item in items)
    kinds = "Attacked and corrupted images" if part.get("attacked") else "Corrupted images"
    tables = [Table(f"{kinds}; strength 1 is mild, 3 strong", columns, rows)]
    if part.get("no_class"):
        none = tuple(
            row(
                item["name"].capitalize(),
                formats.percent(item["confidence"]),
                formats.percent(item.get("abstained")),
                formats.plain(item["submodels_used"]),
                detail=formats.images(item["images"]),
            )
            for item in part["no_class"]
        )
        title = "Out-of-distribution images, which belong to no class: any answer is wrong"
        columns = ("Images", "Mean probability of the answer", "Abstained", "Sub-models used")
        tables.append(Table(title, columns, none))
    attacked = (
        " Attacked images are made against the mean of all sub-models alone, an easier test than the table"
        " Accuracy, where every prefix is attacked."
    ) * bool(part.get("attacked"))
    say = (
        f"The deployed team on {formats.images(part['images'])}, unmodified on"
        f" {formats.count(_clean_images(part))}.{attacked} ECE: expected calibration error. Abstained: the"
        " share of the right, and of the wrong, answers whose probability is below the bundle's threshold."
    )
    return Section(sources=("attack",), caption=(say,), tables=tuple(tables))


def _clean_images(part: Mapping[str, Any]) -> int:
    """The number of clean images; earlier reports have one for all kinds."""
    count: int = part["clean"].get("images", part["images"])
    return count


def _shift_row(title: str, item: Mapping[str, Any], before: bool, abstained: bool) -> Row:
    shares = [item["ece"]]
    shares += [item.get("ece_uncalibrated")] * before
    shares += [item.get("abstained_right"), item.get("abstained_wrong")] * abstained
    accuracy = Cell(formats.percent(item["accuracy"]), formats.interval(item.get("interval")))
    used = Cell(formats.plain(item["submodels_used"]))
    return Row(title, (accuracy, used, *(Cell(formats.percent(each)) for each in shares)))
