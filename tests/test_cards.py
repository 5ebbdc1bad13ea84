"""Every model card has its sections, and the tables that its files give."""

import re
from pathlib import Path

import pytest

from benchmarks.card_tables import with_tables

MODELS = Path(__file__).resolve().parents[1] / "models"
CARDS = sorted(MODELS.glob("*/card.md"))


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_the_tables_of_a_card_are_made_from_the_files_beside_it(card: Path):
    assert with_tables(card.read_text(), card.parent) == card.read_text()


def test_a_card_has_what_a_reader_needs():
    for card in CARDS:
        heads = re.findall(r"^## (.*)$", card.read_text(), re.MULTILINE)
        assert heads == ["What it is", "Data", "Training", "Figures", "Limits", "Licence"], card
