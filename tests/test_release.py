"""What a release is called is the same everywhere, and what is said of installing it can be typed."""

import configparser
import re
from pathlib import Path

import yaml

from eed_edge import __version__
from eed_edge.errors import how_to_install

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SOURCES = [*DOCUMENTS, *(ROOT / "eed_edge").rglob("*.py")]


def extras() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return set(setup["options.extras_require"])


def test_documents_citation_and_changelog_name_this_version():
    wheels = {name for path in DOCUMENTS for name in re.findall(r"eed_edge-([\w.]+)-py3", path.read_text())}
    assert wheels == {__version__}
    assert f"Version {__version__};" in (ROOT / "README.md").read_text()
    newest = re.search(r"^## (\S+), (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert newest.groups() == (citation["version"], str(citation["date-released"]))
    assert citation["version"] == __version__


def test_every_extra_that_is_to_be_installed_is_one():
    asked = {
        name
        for path in SOURCES
        for pattern in (r"how_to_install\('(\w+)'\)", r"pip install \S*\[(\w+)\]")
        for name in re.findall(pattern, path.read_text())
    }
    assert {"images", "train", "sign", "timm"} <= asked <= extras()


def test_no_text_asks_for_eed_edge_from_an_index():
    named = [path.name for path in SOURCES if re.search(r"pip install ['\"]?eed-edge", path.read_text())]
    assert named == []


def test_a_missing_package_is_to_be_installed_from_a_clone_or_from_the_wheel():
    command = how_to_install("train")
    assert "pip install '.[train]' in a clone" in command
    assert "'FILE.whl[train]'" in command
