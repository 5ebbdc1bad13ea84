"""The page as a whole: every part, links, other people's text, missing and damaged parts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from eed_edge.errors import InputError
from eed_edge.html.components import COMMANDS
from eed_edge.html.inputs import read_inputs
from eed_edge.html.page import PARTS, render
from tests.html import sample
from tests.html.conftest import page_of
from tests.html.page_reader import read


def test_every_part_is_on_the_page_of_a_whole_report(page):
    expected = [*PARTS, "making"]
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == expected
    assert "missing" not in page.sections
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(titles) == len(set(titles)) == 6 + 3


def test_every_table_and_chart_links_to_the_command_that_makes_it(page):
    made = {
        attributes["href"]
        for tag, attributes in page.tags
        if tag == "a" and attributes.get("class") == "source"
    }
    assert made == {f"#command-{name}" for name in ("attack", "bench", "narrow", "train")}
    assert "eed-edge attack run bundle --data 'a & b'" in page.sections["making"]  # as it was called
    assert COMMANDS["bench"] in page.sections["making"]  # in general: the report has not recorded it


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(text, page):
    assert not re.search(r"https?:|//[a-z]|@import", text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "base")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))


def test_references_inside_the_drawings_meet_one_thing_each(text, page):
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert used <= set(names)


def test_names_of_users_are_text_and_never_markup(tmp_path):
    report = sample.full_report()
    text = page_of(tmp_path, report, "<script>alert(1)</script>")
    page = read(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "b")]
    assert "eed-edge report: <script>alert(1)</script>" in page.words
    assert any("<b>dog</b>" in word for word in page.words)
    assert "AutoAttack: masked <?>" in page.words
    assert "a$b$" in page.words  # a layer's name is not a formula
    assert "eed-edge attack run bundle --data 'a & b'" in page.words


def test_the_same_report_gives_the_same_bytes_in_another_process(tmp_path, text):
    run = sample.fill(tmp_path, sample.full_report())
    code = (
        "import sys; from pathlib import Path; from eed_edge import html; from tests.html import sample;"
        "html.write_page(Path(sys.argv[1]), sample.bundle_manifest(), Path(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, run, tmp_path / "page.html"]
    subprocess.run(words, cwd=Path(__file__).parents[2], check=True)
    assert (tmp_path / "page.html").read_text() == text


def test_a_user_s_own_matplotlib_settings_change_nothing(tmp_path, text):
    from matplotlib import rc_context

    with rc_context({"axes.titlesize": 30, "xtick.direction": "in", "lines.markeredgewidth": 4}):
        assert page_of(tmp_path, sample.full_report()) == text


def test_a_report_of_accuracy_and_latency_alone_says_how_to_make_the_rest(tmp_path):
    report = sample.full_report()
    (tmp_path / "report.json").write_text(
        sample.json.dumps({key: report[key] for key in ("accuracy", "latency")})
    )
    page = read(render(read_inputs(tmp_path, sample.bundle_manifest())))
    assert page.tables["accuracy", "Accuracy"]["Clean 400 images"][3].startswith("78.8 %")
    left = page.sections["missing"]
    for key, part in PARTS.items():
        missing = f" {part.title.lower()}," in f" {left.lower().replace(':', ',')},"
        assert missing == (key not in ("accuracy", "latency")), key
    for command in {part.command for part in PARTS.values() if part.command != "bench"}:
        assert left.count(COMMANDS[command]) == 1


@pytest.mark.parametrize(
    "key", ["accuracy", "latency", "recipe", "machine", "curves", "adaptive", "cost", "commands"]
)
def test_any_part_may_be_missing(tmp_path, key):
    report = sample.full_report()
    if key != "curves":
        report["curves"] = {"stopping": report["curves"]["stopping"]}
    del report[key]
    page = read(page_of(tmp_path, report))
    if key in PARTS:
        assert key not in page.sections
        assert PARTS[key].title.lower() in page.sections["missing"].lower()
    if key != "curves":
        assert (
            "accuracy against time, accuracy against attack radius, agreement of" in page.sections["missing"]
        )


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        ("accuracy", {"clean": {"dense": 0.5}}),
        ("latency", [1]),
        ("adaptive", {"items": 3}),
        ("curves", {"eps": {"rows": [{}]}}),
        ("shift", "x"),
        ("recipe", {"net": {}}),
    ],
)
def test_a_damaged_part_is_named_in_one_line(tmp_path, key, damage):
    report = sample.full_report() | {key: damage}
    with pytest.raises(
        InputError, match=r"report\.json: .* is not as docs/REPORT\.md describes it .*; measure"
    ):
        page_of(tmp_path, report)
