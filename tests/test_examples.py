"""The Python examples run as they are."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Flow

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_classify_prints_a_line_an_image_and_the_accuracy(flow: Flow, monkeypatch, capsys, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pictures, labels=np.arange(3))
    run(monkeypatch, "classify.py", flow.bundle, tmp_path / "pictures.npz")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["0", "1", "2"]
    assert all(line.endswith("sub-models") for line in lines[:-1])
    assert lines[-1].startswith("accuracy ")


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("*.py"))
