"""What files say reaches the terminal escaped, and answers that cannot be written end in an error."""

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

import eed_edge
from eed_edge import manifest as contract
from eed_edge.errors import InputError
from eed_edge.printable import printable, printable_lines
from tests.hostile.pictures import small_picture
from tests.hostile.terminal_names import TERMINAL_NAMES
from tests.runtime.test_command_line import call

ROOT = Path(__file__).parents[2]
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def is_harmless(text):
    return not any(unicodedata.category(letter) in UNSAFE for letter in text.replace("\n", ""))


@pytest.mark.parametrize("text", TERMINAL_NAMES)
def test_no_control_is_left_and_nothing_is_lost(text):
    escaped = printable(text)
    assert is_harmless(escaped)
    assert "\n" not in escaped
    assert escaped.encode().decode("unicode_escape") == text  # an independent reader gets it back
    assert printable_lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["", "cat", "größer 猫 \N{CAT}", r"C:\n"])
def test_letters_of_all_scripts_and_backslashes_stay(text):
    assert printable(text) == text


@pytest.mark.parametrize("name", TERMINAL_NAMES)
def test_names_of_bundles_classes_and_pictures_are_printed_escaped(tiny, tmp_path, name):
    try:
        contract.dump_manifest(hostile := replace(tiny.manifest, name=name, classes=(name, "dog", "owl")))
        tiny.manifest = hostile
        tiny.write()
    except (ValueError, UnicodeError):  # the manifest itself refuses such a name
        pass
    picture = small_picture(tmp_path, "a.png")
    try:
        picture = picture.rename(tmp_path / f"{name}.png")
    except (ValueError, UnicodeError):  # no file and no argument can have this name
        with pytest.raises(InputError) as error:
            eed_edge.load(tmp_path / name)
        name = "none"
        assert is_harmless(str(error.value))
    results = [call("check", tiny.folder), call("run", tiny.folder, picture)]
    results += [call("run", tiny.folder, picture, "--json"), call("run", tmp_path / name, picture)]
    for result in results:
        assert is_harmless(result.output)
        assert "unexpected" not in result.output
    assert len(results[1].stdout.splitlines()) <= 2
    for line in results[2].stdout.splitlines():
        assert json.loads(line)["file"] == str(picture)


def run_with(stdout, *words):
    """The command in a process of its own; ``stdout`` is a shell's redirection."""
    command = f'exec "$@" {stdout}'
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "eed_edge", *map(str, words)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("stdout", [">&-", ">/dev/full"])
def test_answers_that_cannot_be_written_exit_1_with_one_line(tiny, tmp_path, stdout):
    picture = small_picture(tmp_path, "a.png")
    result = run_with(stdout, "run", tiny.folder, picture, "--json")
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot write to standard output: ")
    assert len(result.stderr.splitlines()) == 1


def test_answers_without_a_reader_exit_1(tiny, tmp_path):
    picture, (reading, writing) = small_picture(tmp_path, "a.png"), os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "eed_edge", "run", str(tiny.folder), str(picture)]
    result = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "Broken pipe" in result.stderr


def test_an_encoding_without_the_letter_gets_an_escape(tiny, tmp_path):
    picture = small_picture(tmp_path, "a.png").rename(tmp_path / "猫.png")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "eed_edge", "run", str(tiny.folder), str(picture)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert rb"\u732b.png" in result.stdout


def test_only_one_file_of_the_command_line_prints():
    printing = "click.echo(", "print(", "sys.stdout.write(", "click.secho("
    for path in (ROOT / "eed_edge" / "cli").rglob("*.py"):
        lines = path.read_text().splitlines()
        direct = [line for line in lines if any(line.strip().startswith(word) for word in printing)]
        assert path.name == "output.py" or not direct, path


def test_a_folder_that_is_no_bundle_may_have_any_name(tmp_path):
    folder = tmp_path / "\x1b]0;x\x07"
    folder.mkdir()
    assert is_harmless(call("check", folder).output)
    shutil.rmtree(folder)
