"""What the README tells people to run exists and runs."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from eed_edge.cli import main
from tests.conftest import call

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CODE = "".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
LINES = [line.split("  #")[0] for line in re.findall(r"^eed-edge .*$", CODE, re.MULTILINE)]
SMALL = [
    "net.width=16",
    "data.size=8",
    "data.limit=260",
    "data.test=0.06",
    "base.epochs=4",
    "pool.epochs=1",
    "pool.subsets=2",
    "joint.epochs=1",
    'scores.names=["erm"]',
    "prune.member_share=0.4",
    "prune.sparsity=0.2",
    "select.member_gap=1",
    "gate.steps=2",
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_the_readme_is_one(line):
    _, name, *words = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    command.make_context(name, words)


def test_the_commands_that_make_runs_are_those_of_the_readme():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", CODE, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_the_demo_that_the_readme_names_leaves_what_it_promises(tmp_path, monkeypatch):
    monkeypatch.setattr("eed_edge.cli.prepare.demo.NARROW_EPOCHS", 2)
    monkeypatch.setattr("eed_edge.cli.prepare.demo.ATTACKED_IMAGES", 20)
    monkeypatch.setattr("eed_edge.evaluate.baselines.latency_match.STEP", 0.4)  # fewer widths to export
    recipe = re.search(r"^\t\S+/eed-edge (demo .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = recipe[1].replace("build/demo", str(tmp_path)).split()
    result = call(*words, *(part for change in SMALL for part in ("--set", change)))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "joint.json").is_file()
    assert call("check", tmp_path / "bundle").exit_code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {
        "latency",
        "accuracy",
        "submodels_used",
        "cost",
        "sparsity",
        "rd",
        "machine",
        "narrow",
    } <= report.keys()
    for part in ("speed-up over dense", "prefix %", "dynamic - static", "slowdown, capped", "replay: 0 of"):
        assert part in result.output
    assert report["commands"].keys() >= {"attack", "bench", "narrow"}
    assert "Not measured" not in (tmp_path / "report.html").read_text()
