"""The figures of every model card are those of the report beside it."""

import json
import re
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[1] / "models"
CARDS = sorted(MODELS.glob("*/card.md"))
ROWS = {
    "clean": "clean",
    "PGD-20": "pgd20",
    "AutoAttack": "autoattack",
    "C&W": "cw",
    "DeepFool": "deepfool",
    "APGD": "apgd",
    "adaptive": "adaptive",
}
DEFENCES = {
    "dense base": "dense",
    "dense int8": "dense_int8",
    "narrow": "narrow",
    "single": "single",
    "static mean": "static",
    "dynamic: the bundle": "dynamic",
}
"""Columns of a card's table of accuracies, by their heads."""


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_the_figures_of_a_card_are_those_of_its_report(card: Path):
    report = json.loads((card.parent / "report.json").read_text())
    found, columns = set(), []
    for line in card.read_text().splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not name and cells[-1:] == ["images"] and set(cells[:-1]) <= DEFENCES.keys():
            columns = [DEFENCES[cell] for cell in cells[:-1]]
        if name not in ROWS or not columns or len(cells) != len(columns) + 1:
            continue
        row = report["accuracy"][ROWS[name]]
        for defence, cell in zip(columns, cells, strict=False):
            low, high = row["interval"][defence]
            assert cell == f"{100 * row[defence]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        assert cells[-1] == str(row["images"])
        found.add(ROWS[name])
    assert {"clean", "pgd20"} <= found
    latency = report["latency"]
    for key in ("speedup_mean", "speedup_worst", "speedup_mean_int8"):
        assert key not in latency or f"{latency[key]:.2f} times" in card.read_text()
    if "dense_int8" in report["accuracy"]["clean"]:
        assert "dense int8" in card.read_text()


def test_a_card_has_what_a_reader_needs():
    for card in CARDS:
        heads = re.findall(r"^## (.*)$", card.read_text(), re.MULTILINE)
        assert heads == ["What it is", "Data", "Training", "Figures", "Limits", "Licence"], card
