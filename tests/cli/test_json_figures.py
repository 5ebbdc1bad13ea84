"""``--json`` means the same wherever something is measured."""

import json

import click
import pytest

from eed_edge import cli
from eed_edge.cli.measuring_command import MeasuringCommand
from tests.conftest import call
from tests.formats.stored import STORED

BUNDLE, RUN = STORED / "bundle", STORED / "run"
CALLS = {
    "check": ["check", BUNDLE],
    "bench": ["bench", BUNDLE, "--repeats", 1, "--cold"],
    "tune": ["bench", BUNDLE, "--repeats", 1, "--tune"],
    "report": ["report", RUN, BUNDLE],
}


@pytest.mark.parametrize("name", CALLS)
def test_json_alone_is_all_of_standard_output_and_with_a_file_is_that_file(name, tmp_path):
    words = CALLS[name]
    shown, written = call(*words, "--json"), call(*words, "--json", tmp_path / "out.json")
    assert (shown.exit_code, written.exit_code) == (0, 0)
    figures, stored = json.loads(shown.stdout), json.loads((tmp_path / "out.json").read_text())
    assert figures.keys() == stored.keys()
    assert shown.stderr.splitlines()[0] == written.stdout.splitlines()[0]  # what people read
    assert written.stderr == ""


def test_a_word_behind_json_that_is_no_json_file_is_the_next_argument():
    assert json.loads(call("check", "--json", BUNDLE).stdout)["name"] == "small"
    behind = call("check", "--", "--json")
    assert (behind.exit_code, behind.stdout) == (1, "")
    assert "cannot open --json" in behind.stderr


def test_a_failure_gives_no_figures(tmp_path):
    result = call("check", tmp_path, "--json")
    assert (result.exit_code, result.stdout) == (1, "")


def test_every_command_that_measures_has_it():
    commands = {name: cli.main.get_command(click.Context(cli.main), name) for name in cli.COMMANDS}
    measuring = {name for name, command in commands.items() if isinstance(command, MeasuringCommand)}
    assert measuring >= {"check", "inspect", *cli.ROOMS["measure"]}
