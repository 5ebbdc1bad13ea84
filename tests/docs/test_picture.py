"""The README's picture shows what the reference model's report says today."""

import json
import runpy
from pathlib import Path

from tests.docs.above_chance import verdicts

ROOT = Path(__file__).parents[2]
REPORT = json.loads((ROOT / "models" / "cifar10-resnet18-w16" / "report.json").read_text())
PICTURE = runpy.run_path(str(ROOT / "benchmarks" / "picture.py"))


def test_the_picture_is_of_the_figures_of_today():
    stored = (ROOT / "docs" / "accuracy-against-time.svg").read_text()
    words = f"<desc>{PICTURE['describe'](REPORT)}</desc>"
    assert words in stored, "make picture draws another one: commit it"
    assert words in PICTURE["draw"](REPORT)


def test_every_network_that_was_measured_is_in_the_picture():
    words = PICTURE["describe"](REPORT)
    for key, name in PICTURE["NETWORKS"].items():
        assert (f"{name}: " in words) == (key in REPORT["latency"])
    for name in ("dense", "narrow", "dynamic"):
        assert f"{REPORT['latency'][name]['mean_ms']:.3f} ms" in words
        assert f"{100 * REPORT['accuracy']['pgd20'][name]:.1f} %" in words


def test_an_accuracy_near_chance_is_called_so():
    row = {"dynamic": 0.5, "interval": {"dynamic": [0.48, 0.6]}, "images": 90}
    assert [well for well, _ in verdicts({"accuracy": {"clean": row}}, 2)] == [False]
    assert [well for well, _ in verdicts({"accuracy": {"clean": row}}, 4)] == [True]
