"""The command line of version 0.1: commands, options, choices and exit codes."""

import json
import sys

import click
import pytest

from eed_edge.cli import main
from tests.conftest import call
from tests.formats.stored import DATA, STORED, content
from tests.formats.surface import surface

BUNDLE = STORED / "bundle"
COMMANDS = ["demo", "data", "train", "export", "check", "run", "bench", "narrow", "attack", "report"]
OPTIONS_SINCE = {
    "export": {"--abstain-share", "--int8", "--with-dense-int8", "--data", "--sign"},
    "bench": {"--beside", "--cold"},
    "check": {"--verify", "--json"},
    "demo": {"--full", "--web"},
    "narrow": {"--json"},
    "report": {"--card", "--json"},
}
"""Options that version 0.1 did not have, by command."""
SPELLED_SINCE = {"--version -V": "--version"}
"""Options that have one more spelling now, as they were spelled then."""


def test_the_commands_are_these_in_this_order():
    commands = main.list_commands(click.Context(main))
    assert [name for name in commands if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_command_has_its_stored_arguments_options_and_choices(command):
    stored = content(STORED / "cli" / "surface.json")
    today = surface()[command]
    since = {name: today["options"].pop(name) for name in OPTIONS_SINCE.get(command, ())}
    assert len(since) == len(OPTIONS_SINCE.get(command, ()))
    today["options"] = {SPELLED_SINCE.get(name, name): each for name, each in today["options"].items()}
    assert today == stored[command]


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_a_command_is_called_as_it_is_listed(name):
    assert main.get_command(click.Context(main), name).name == name


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["check", BUNDLE], 0),
        (["check", DATA], 1),
        (["run", BUNDLE, DATA / "test.npz", DATA / "none.npz"], 1),
        (["report", DATA, BUNDLE], 1),
        (["check"], 2),
        (["no-such-command"], 2),
        (["run", BUNDLE, DATA / "test.npz", "--threshold", 3], 2),
        (["export", STORED / "run", "x", "--rule", "none"], 2),
    ],
)
def test_the_exit_code_says_done_failed_or_wrong_call(words, code):
    assert call(*words).exit_code == code


def test_an_interrupted_command_exits_with_130(monkeypatch):
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.get_command(click.Context(main), "check"), "callback", interrupt)
    result = call("check", BUNDLE)
    assert (result.exit_code, result.stderr) == (130, "\ninterrupted\n")


def test_the_program_starts_as_a_module_too(monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", ["eed-edge", "check", str(BUNDLE)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("eed_edge", run_name="__main__")
    assert capsys.readouterr().out.startswith("ok  small")


def test_the_stored_surface_is_a_plain_json_file_that_names_every_command():
    text = (STORED / "cli" / "surface.json").read_text()
    assert list(json.loads(text)) == ["", *COMMANDS]
