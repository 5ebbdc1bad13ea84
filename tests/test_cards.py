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
DEFENCES = ("dense", "static", "dynamic")


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_the_figures_of_a_card_are_those_of_its_report(card: Path):
    report = json.loads((card.parent / "report.json").read_text())
    found = set()
    for line in card.read_text().splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name not in ROWS or len(cells) != len(DEFENCES) + 1:
            continue
        row = report["accuracy"][ROWS[name]]
        for defence, cell in zip(DEFENCES, cells, strict=False):
            low, high = row["interval"][defence]
            assert cell == f"{100 * row[defence]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        assert cells[-1] == str(row["images"])
        found.add(ROWS[name])
    assert {"clean", "pgd20"} <= found
    latency = report["latency"]
    for key in ("speedup_mean", "speedup_worst"):
        assert f"{latency[key]:.2f} times" in card.read_text()


def test_a_card_has_what_a_reader_needs():
    for card in CARDS:
        heads = re.findall(r"^## (.*)$", card.read_text(), re.MULTILINE)
        assert heads == ["What it is", "Data", "Training", "Figures", "Limits", "Licence"], card
