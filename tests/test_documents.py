"""What the Markdown files name exists: paths, functions and classes, targets, commands and their options."""

import re
from pathlib import Path

import click
import pytest

from eed_edge.cli import main
from tests.named_in_markdown import (
    READERS,
    ROOT,
    code_of,
    definitions_of,
    is_defined,
    is_there,
    paths_of,
)

FILES = [
    *ROOT.glob("*.md"),
    *(path for part in ("benchmarks", "docs", "models") for path in (ROOT / part).rglob("*.md")),
]
FILES = sorted(path for path in FILES if "node_modules" not in path.parts)
MAKEFILE = (ROOT / "Makefile").read_text()
SAMPLE = """
The search is in `prune/score_search.py: search_scores, optimize`; [a page](docs/NOWHERE.md#top),
`eed_edge/none.py`,
`train/nothing.py`, `models/NAME/no.json`, `RUN/none.json` and `bundle/none.onnx`; `eed_edge.load`,
`eed_edge.errors.NoError`, and [one that is there](README.md) beside `models/NAME/recipe.toml`.

```
make nothing
.venv/bin/python benchmarks/none.py build/demo/bundle --run build/demo/run
```
"""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_path_that_a_document_names_is_there(file):
    assert [path for path in sorted(paths_of(file.read_text())) if not is_there(path, file.parent)] == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_function_and_class_that_a_document_names_is_defined_there(file):
    assert [pair for pair in sorted(definitions_of(file.read_text())) if not is_defined(*pair)] == []


def targets_of(text: str) -> list[str]:
    return [name for code in code_of(text) for name in re.findall(r"^make ([a-z][\w-]*)", code, re.MULTILINE)]


def is_target(name: str) -> bool:
    return bool(re.search(rf"^{name}:", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_make_target_that_a_document_names_is_one(file):
    assert [name for name in targets_of(file.read_text()) if not is_target(name)] == []


def options_of(text: str, program: str) -> list[tuple[str, str]]:
    """``(what follows the program's name, option)`` of all calls, a line each."""
    code = "\n".join(code_of(text))
    calls = re.findall(rf"{program}([\w/-]+)(.*)", code)
    return [(name, option) for name, rest in calls for option in re.findall(r"(?<=\s)--[a-z][\w-]*", rest)]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_option_of_a_benchmark_that_a_document_names_is_in_its_script(file):
    for script, option in options_of(file.read_text(), r"\.venv/bin/python benchmarks/"):
        assert f'"{option}"' in (ROOT / "benchmarks" / f"{script}.py").read_text(), (script, option)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_command_and_option_that_a_document_names_is_one(file):
    for name, option in options_of(file.read_text(), r"(?:\beed-edge|-m eed_edge) "):
        command = main.get_command(click.Context(main), name)
        assert command is not None, name
        spellings = {text for part in command.params for text in (*part.opts, *part.secondary_opts)}
        assert option in spellings | {"--help"}, (name, option)


def test_what_is_not_there_is_found():
    missing = {path for path in paths_of(SAMPLE) if not is_there(path, ROOT)}
    assert missing == {
        "docs/NOWHERE.md",
        "eed_edge/none.py",
        "train/nothing.py",
        "models/NAME/no.json",
        "RUN/none.json",
        "bundle/none.onnx",
        "benchmarks/none.py",
    }
    undefined = {pair for pair in definitions_of(SAMPLE) if not is_defined(*pair)}
    assert undefined == {("prune/score_search.py", "optimize"), ("eed_edge/errors.py", "NoError")}
    assert [name for name in targets_of(SAMPLE) if not is_target(name)] == ["nothing"]


def test_what_is_said_to_be_the_reader_s_own_is_named_somewhere():
    named = set().union(*(paths_of(file.read_text()) for file in FILES))
    assert READERS - named == set()


def test_the_documents_name_as_much_as_they_did():
    """So that a change in how names are found does not let them all go unread."""
    paths = sum(len(paths_of(file.read_text())) for file in FILES)
    definitions = set().union(*(definitions_of(file.read_text()) for file in FILES))
    assert paths > 100
    assert len(definitions) > 12
