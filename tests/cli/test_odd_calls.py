"""Odd calls: closed output, empty words, places that cannot be written, names with spaces, odd files."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from eed_edge import cli
from eed_edge.cli.display.progress import progress_display
from eed_edge.printable import to_copy
from tests.conftest import call
from tests.formats.stored import DATA, STORED
from tests.shapes import draw_shapes

BUNDLE, RUN = STORED / "bundle", STORED / "run"
SOURCE = Path(cli.__file__).parents[1]


def test_an_empty_word_is_a_wrong_call():
    for words in (["check", ""], ["run", BUNDLE, ""], ["bench", BUNDLE, "--run", ""]):
        result = call(*words)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "expected words, got an empty one; a shell variable may be unset" in result.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_progress_needs_no_output(stream, monkeypatch):
    monkeypatch.setattr(sys, stream, None)
    with progress_display() as progress:
        progress.print_line("nobody reads this")


def test_a_recipe_is_written_although_nobody_reads_the_answer(tmp_path):
    draw_shapes(tmp_path / "set", each=12, side=16)
    words = [sys.executable, "-m", "eed_edge", "init", f"{tmp_path}/set", "--out", f"{tmp_path}/x.toml"]
    result = subprocess.run(["sh", "-c", f"{shlex.join(words)} >&-"], stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "cannot write to standard output: it is closed" in result.stderr
    assert (tmp_path / "x.toml").is_file()


def test_commands_that_are_printed_can_be_copied(tmp_path, monkeypatch):
    place = tmp_path / "my pictures"
    draw_shapes(place, each=12, side=16)
    monkeypatch.chdir(tmp_path)
    *_, last = call("init", "my pictures").stdout.splitlines()
    words = shlex.split(last.partition("then: ")[2])
    assert words == ["eed-edge", "train", "my pictures.toml", "--data", "my pictures", "--run", "RUN"]
    assert shlex.split(to_copy("run", place, "$HOME")) == ["eed-edge", "run", str(place), "$HOME"]


def test_no_message_has_a_command_line_with_a_name_that_a_shell_would_split():
    bare = re.compile(rf"eed-edge ({'|'.join(cli.COMMANDS)})( [\w-]+)* {{(?!to_copy)")
    result = [(path, line) for path in SOURCE.rglob("*.py") for line in path.read_text().splitlines()
             if bare.search(line)]  # fmt: skip
    assert result == []


@pytest.mark.parametrize("words", [["check", BUNDLE], ["bench", BUNDLE, "--repeats", 1, "--cold"]])
def test_a_place_for_figures_that_cannot_be_written_is_refused_before_the_work(words, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    for place in (tmp_path / "file" / "x.json", tmp_path / "folder.json"):
        result = call(*words, "--json", place)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert f"cannot write {place}" in result.stderr
    result = call("profile", "digits-resnet18", "--out", tmp_path / "file" / "x.json")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_what_a_desktop_left_in_a_bundle_is_named_once(tmp_path):
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    (tmp_path / "bundle" / ".DS_Store").write_bytes(b"x")
    words = [sys.executable, "-m", "eed_edge", "check", str(tmp_path / "bundle")]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stderr == "warning: '.DS_Store', which a desktop leaves in folders, is passed over\n"


def test_run_names_a_set_without_images_and_labels_of_other_classes(tmp_path, caplog):
    with np.load(DATA / "test.npz") as arrays:
        images, labels = arrays["images"][:3], arrays["labels"][:3]
    np.savez(tmp_path / "none.npz", images=images[:0], labels=labels[:0])
    result = call("run", BUNDLE, tmp_path / "none.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "expected at least one image, got none" in result.stderr
    np.savez(tmp_path / "other.npz", images=images, labels=labels + 90)
    result = call("run", BUNDLE, tmp_path / "other.npz")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 4)
    assert "accuracy" not in result.stdout
    assert re.search(r"other\.npz: labels 9\d to 9\d are not those of the \d+ classes", caplog.text)


def test_run_says_how_to_keep_what_json_prints():
    result = call("run", BUNDLE, DATA / "test.npz", "--json", "x.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json of run prints a line per image; to keep them write > x.json" in result.stderr


@pytest.mark.parametrize("arch", ["./nets:build", "my nets:build", ":build"])
def test_a_network_named_as_a_file_is_answered_with_the_form_of_a_name(arch):
    result = call("inspect", arch)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "package.module:function or timm:name, got" in result.stderr


def test_a_folder_given_to_a_recipe_that_reads_none_is_said(tmp_path, caplog):
    call("inspect", "digits-resnet18", "--data", tmp_path, "--set", "net.width=8")
    assert f"{tmp_path} is not read; eed-edge init {tmp_path} writes a recipe" in caplog.text


def test_a_folder_above_the_set_is_answered_with_the_set(tmp_path):
    draw_shapes(tmp_path / "above" / "set", each=2, side=8)
    result = call("init", tmp_path / "above")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"choose {tmp_path}/above/set if its subfolders are the classes" in result.stderr


@pytest.mark.parametrize("command", [["train", "--run"], ["shapes", "--out"]])
def test_a_folder_of_pictures_or_a_bundle_does_not_become_a_run(command, tmp_path):
    draw_shapes(tmp_path / "set", each=12, side=16)
    assert call("init", tmp_path / "set", "--out", tmp_path / "x.toml").exit_code == 0
    before = sorted((tmp_path / "set").rglob("*"))
    (name, option), train = command, [tmp_path / "x.toml", "--data", tmp_path / "set"]
    for folder, other in ((tmp_path / "set", "circle/000.png"), (BUNDLE, "manifest.json")):
        result = call(name, *train, option, folder)
        assert result.exit_code == 1
        assert (
            f"{folder}: expected a new folder, got one with {other}; choose another folder" in result.stderr
        )
    assert sorted((tmp_path / "set").rglob("*")) == before


NUMBERS = {
    "export": [RUN, "b", "--max-drop"],
    "narrow": [RUN, BUNDLE, "--mean-ms"],
    "train": ["digits-resnet18", "--run", "r", "--max-minutes"],
    "shapes": ["digits-resnet18", "--out", "o", "--share"],
    "run": [BUNDLE, "x.png", "--deadline-ms"],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_nan_is_no_number(name):
    result = call(name, *NUMBERS[name], "nan")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "expected a number, got nan" in result.stderr


def test_no_option_takes_nan():
    for name in cli.COMMANDS:
        command = cli.main.get_command(click.Context(cli.main), name)
        plain = [each.name for each in command.params if type(each.type) is click.FloatRange]
        assert plain == []
