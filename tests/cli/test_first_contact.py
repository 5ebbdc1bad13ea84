"""What a newcomer meets first: the help, the version, and what a mistyped word was meant to be."""

import re

import click
import pytest

import eed_edge
from eed_edge import cli
from eed_edge.errors import RecipeError
from eed_edge.pipeline.registered_names import check_registered_names
from eed_edge.recipe import load_recipe
from eed_edge.suggestions import did_you_mean
from tests.conftest import call
from tests.formats.stored import STORED


def test_no_command_prints_the_help_on_stdout_as_help_does():
    alone, asked = call(), call("--help")
    assert (alone.exit_code, asked.exit_code) == (2, 0)
    assert alone.stdout.strip() == asked.stdout.strip()
    assert alone.stderr == ""


def test_help_is_a_word_too():
    assert call("help").stdout == call("--help").stdout
    assert call("help", "train").stdout == call("train", "--help").stdout


def test_help_has_usage_the_groups_in_order_a_line_per_command_and_examples():
    lines = call("--help").stdout.splitlines()
    assert lines[0].endswith(" [OPTIONS] COMMAND [ARGS]...")
    headings = [line.rstrip(":") for line in lines if re.fullmatch(r"\w[\w ]*:", line)]
    assert headings == [*cli.TITLES.values(), "Options"]
    names = [line.split()[0] for line in lines if re.match(r"  \w+ +\w.*\.$", line)]
    assert [name for name in names if name in cli.COMMANDS] == list(cli.COMMANDS)
    assert any(line.strip().startswith("eed-edge demo") for line in lines)
    assert max(map(len, lines)) < 100


BUNDLE, RUN = STORED / "bundle", STORED / "run"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_short_line_and_an_example_that_its_parser_takes(name):
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command.short_help.endswith(".")
    assert len(command.short_help) < 66
    lines = [re.split(" [<>] ", line)[0] for line in command.epilog.splitlines()]  # not what the shell takes
    examples = [line.split() for line in lines if "eed-edge" in line]
    assert examples
    for program, called, *words in examples:
        assert (program, called) == ("eed-edge", name)
        command.make_context(name, words)


def test_the_version_has_a_short_option():
    assert call("-V").stdout == call("--version").stdout == f"eed-edge, version {eed_edge.__version__}\n"


@pytest.mark.parametrize(
    ("words", "code", "meant"),
    [
        (["trian"], 2, "No such command 'trian' (did you mean 'train'?); "),
        (["inspekt", "x"], 2, "(did you mean 'inspect'?)"),
        (["inspect", "resnet19"], 1, "no network or recipe 'resnet19' (did you mean 'resnet18'?)"),
        (["inspect", "quux"], 1, "no network or recipe 'quux': expected a TOML file or one of resnet18, "),
        (["run", "--threshhold", "1", "b", "x"], 2, "--threshold"),
        (["attack", RUN, BUNDLE, "--suite", "quik"], 1, "got 'quik' (did you mean 'quick'?)"),
        (["train", "digit-resnet18", "--run", "x"], 1, "'digit-resnet18' (did you mean 'digits-resnet18'?)"),
        (
            ["train", "digits-resnet18", "--run", "x", "--set", "bse.epochs=2"],
            1,
            "unknown key 'bse' (did you mean 'base'?); fix the recipe",
        ),
    ],
)
def test_a_mistyped_word_is_answered_with_what_was_meant(words, code, meant):
    result = call(*words)
    assert result.exit_code == code
    assert meant in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_mistyped_file_is_answered_with_the_recipe_beside_it(tmp_path):
    (tmp_path / "my-pictures.toml").write_text("")
    with pytest.raises(RecipeError, match=r"my-picture\.toml' \(did you mean '.*my-pictures\.toml'\?\)"):
        load_recipe(str(tmp_path / "my-picture.toml"))
    with pytest.raises(RecipeError, match=r"got 'pdg' \(did you mean 'pgd'\?\)"):
        check_registered_names(load_recipe("digits-resnet18", ["base.attack=pdg"]))


def test_a_word_that_is_near_to_none_gets_the_list_instead():
    assert did_you_mean("quux", ["train", "export"]) == ""
    with pytest.raises(RecipeError, match=r"unknown key 'quux', expected name, seed, data"):
        load_recipe("digits-resnet18", ["quux=1"])
    with pytest.raises(RecipeError, match=r"'epochs' needs its section: base.epochs or pool.epochs or joint"):
        load_recipe("digits-resnet18", ["epochs=2"])
    with pytest.raises(RecipeError, match=r"no recipe 'quux': expected .* cifar10-resnet18"):
        load_recipe("quux")
