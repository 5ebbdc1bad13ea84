"""The top of the page: the answer, a row for each rival, key figures and warnings."""

import json
from pathlib import Path

import pytest

from eed_edge.html.inputs import PageInputs, read_inputs
from eed_edge.html.page import render
from eed_edge.html.sections.front import front
from eed_edge.manifest import parse_manifest
from tests.html import sample
from tests.html.page_reader import Page, read

ROOT = Path(__file__).parents[2]


def after(page: Page, word: str) -> list[str]:
    """What follows a word of the page, without gaps."""
    return [each for each in page.words[page.words.index(word) + 1 :] if each]


def test_the_page_begins_with_the_answer(page):
    words = "".join(after(page, "eed-edge report: tiny")[:2])
    assert words.startswith(
        "It depends on what counts: against the dense network, this team is 2.40 times as fast"
    )
    assert "24.0 points less robust under adaptive attacks" in words


def test_each_rival_has_a_row_with_both_figures_and_a_mark_beside_the_colour(page):
    rows = page.tables["", "The team compared with"]
    assert rows["dense network"] == [
        "≈ no measurable difference 78.8 % against 81.2 % (−6.0 to +1.0), 400 images",
        "▼ 24.0 points less robust under adaptive attacks 21.0 % against 45.0 % (−28.9 to −19.1), 400 images",
        "▲ 2.40 times as fast 0.625 ms against 1.50 ms (2.30× to 2.50×)",
    ]
    assert rows["narrow network"][2] == "– not measured"


def test_the_top_has_date_time_processor_and_key_figures(tmp_path, page):
    assert (
        page.words.count(
            "Date not recorded · 0.625 ms an image on average · Some <CPU>, 2 cores · 1 thread,"
            " batch 1 · team of 2 sub-models, float32"
        )
        == 1
    )
    report = sample.full_report()
    report["machine"]["date"] = "2026-11-07"
    facts = front(read_inputs(sample.fill(tmp_path, report), sample.bundle_manifest())).facts
    assert facts.startswith("Measured 7 November 2026 · 0.625\N{NO-BREAK SPACE}ms an image on average")
    top = page.sections[""]
    assert "clean accuracy 78.8 % dense 81.2 %, narrow 71.0 %; 400 images" in top
    assert "accuracy under adaptive attacks 21.0 % dense 45.0 %, narrow 30.0 %; 400 images" in top
    assert "speed relative to dense 2.40× 1.20× if all sub-models run; paper 1.86×" in top
    assert "model files 0.24 MiB dense 0.95 MiB" in top


def test_a_team_that_is_no_better_under_attack_than_guessing_is_warned_of(tmp_path):
    report = sample.full_report()  # three classes
    for share, warned in ((0.34, False), (0.33, True)):
        report["accuracy"]["adaptive"]["dynamic"] = share
        warnings = front(read_inputs(sample.fill(tmp_path, report), sample.bundle_manifest())).warnings
        words = (
            f"under adaptive attacks the team is right on {100 * share:.1f}\N{NO-BREAK SPACE}%, no more than"
        )
        assert any(words in text for text in warnings) == warned


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10-resnet18-w16", "Deploy this team"),  # worse than dense, narrow and single in nothing
        ("cifar10-resnet18", "It depends on what counts"),  # faster than dense, and less accurate
    ],
)
def test_reports_of_published_models_still_have_a_page(name, expected):
    folder = ROOT / "models" / name
    figures = json.loads((folder / "report.json").read_text())
    manifest = parse_manifest((folder / "bundle" / "manifest.json").read_bytes())
    page = read(render(PageInputs(figures, manifest, [], {})))
    answer = after(page, f"eed-edge report: {name}")[0]
    assert answer == expected
    assert "learning curves" in page.sections["missing"]


def test_what_is_an_alarm_is_said_at_the_top_too(page):
    assert page.words.count("the stop may hide gradients") == 2
