"""The scripts in benchmarks/ can be called: every option goes to a parameter of that name."""

import importlib
import inspect
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import training

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "@click." in path.read_text())


def commands(command: click.Command) -> list[click.Command]:
    """The command, or those of a group."""
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_of_a_script_is_a_parameter_of_its_function(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as python benchmarks/NAME.py has it
    module = importlib.import_module(f"benchmarks.{name}")
    for command in commands(module.main):
        assert command.callback is not None
        expected = {param.name for param in command.params}
        assert expected == set(inspect.signature(command.callback).parameters)


def test_our_training_loop_and_the_plain_one_are_timed_on_the_same_images(tmp_path):
    target = tmp_path / "training.json"
    words = ["--arch", "vgg16", "--width", "4", "--images", "128", "--rounds", "1", "--json", str(target)]
    result = CliRunner().invoke(training.main, words)
    assert result.exit_code == 0, result.output
    figures = json.loads(target.read_text())
    assert 0.1 < figures["ratio"] < 10  # both train on all images in every round
