"""Completion: what a shell is offered, and that one command sets it up."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eed_edge.recipe import load_recipe, recipe_names
from eed_edge.report.names import ATTACKS
from tests.conftest import call
from tests.formats.stored import STORED

ROOT = Path(__file__).parents[2]
FIELD_ENDS = ("ochs", "s_255", "s_warmup")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, and ``eed-edge`` on the path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "bin" / "eed-edge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m eed_edge "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def completed(line):
    """What bash offers behind ``line``, as a terminal would ask for it."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    script = (
        f". ~/.bashrc; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1};"
        " compopt() { :; }; _eed_edge_completion eed-edge; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_one_command_sets_it_up_in_bash_and_recipes_runs_and_bundles_are_completed(home):
    (home / ".bashrc").write_text("# own line")
    for _ in range(2):
        done = call("completion", "bash", "--install")
        assert done.exit_code == 0, done.output
    assert len((home / ".bashrc").read_text().splitlines()) == 2
    assert completed("eed-edge tr") == ["train"]
    assert completed("eed-edge train digits") == [
        name for name in recipe_names() if name.startswith("digits")
    ]
    assert completed("eed-edge train x --set base.ep") == [
        "base.epochs=",
        "base.eps_255=",
        "base.eps_warmup=",
    ]
    assert completed(f"eed-edge attack {STORED}/r") == [f"{STORED}/run"]
    assert completed(f"eed-edge attack x {STORED}/") == [f"{STORED}/bundle"]
    assert completed("eed-edge attack x y --suite s") == ["standard"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_it_works_in_zsh(home):
    assert call("completion", "zsh", "--install").exit_code == 0
    script = ". ~/.zshrc; print $_comps[eed-edge]"
    result = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "_eed_edge_completion"


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
def test_it_works_in_fish(home):
    assert call("completion", "fish", "--install").exit_code == 0
    script = 'complete --do-complete "eed-edge train digits"'
    result = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True)
    assert "digits-resnet18" in result.stdout.split()


def test_the_shell_is_that_of_the_environment(home, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert call("completion", "--install").exit_code == 0
    assert "eed-edge" in (home / ".config" / "fish" / "completions" / "eed-edge.fish").read_text()
    assert "_eed_edge_completion" in call("completion", "bash").stdout
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = call("completion")
    assert result.exit_code == 2
    assert "expected bash, zsh, fish, got 'tcsh' in $SHELL; name one of these" in result.stderr


def test_offered_words_are_those_that_are_taken():
    from eed_edge.attacks.registry import EVALUATION_ATTACKS
    from eed_edge.cli.completion_words import complete_attack, complete_override, complete_suite
    from eed_edge.evaluate.suites import SUITES

    assert {item.value for item in complete_attack(None, None, "")} == set(EVALUATION_ATTACKS) <= set(ATTACKS)
    assert {item.value for item in complete_suite(None, None, "")} == set(SUITES)
    for item in complete_override(None, None, "base."):
        section, _, field = item.value.rstrip("=").partition(".")
        assert hasattr(getattr(load_recipe("digits-resnet18"), section), field)
