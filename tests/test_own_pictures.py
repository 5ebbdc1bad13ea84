"""Own pictures without attacks: from ``eed-edge init`` on a folder to the report, as a user does it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from eed_edge.images.preprocess import open_picture
from eed_edge.manifest import parse_manifest
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import open_run
from tests.conftest import call
from tests.photographs import draw_set

SMALL = [
    "net.width=16",
    "data.size=16",
    "data.shorter_side=16",
    "data.crop=0",
    "base.epochs=8",
    "pool.epochs=3",
    "joint.epochs=2",
    "pool.subsets=2",
    'scores.names=["erm"]',
    "scores.images=8",
    "prune.member_share=0.4",
    "prune.sparsity=0.2",
    "select.member_gap=1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, exported_once):
    """The folder, the recipe that init wrote, the run and the bundle."""
    place = tmp_path_factory.mktemp("own")
    draw_set(place / "Road Signs", classes=3, counts={"train": 50, "test": 12}, side=32)
    recipe, run, bundle = place / "signs.toml", place / "run", place / "bundle"
    words = [part for change in SMALL for part in ("--set", change)]
    for command in (
        ("init", place / "Road Signs", "--attack", "none", "--out", recipe),
        ("train", recipe, "--data", place / "Road Signs", "--run", run, *words),
        ("export", run, bundle),
        ("attack", run, bundle, "--data", place / "Road Signs"),
        ("report", run, bundle, "--html", place / "report.html"),
    ):
        result = call(*command)
        assert result.exit_code == 0, result.output
    return place


def test_a_run_without_attacks_reports_clean_figures_and_nothing_else(folder):
    report = json.loads((folder / "run" / "report.json").read_text())
    assert list(report["accuracy"]) == list(report["prefixes"]) == list(report["paired"]) == ["clean"]
    assert report["accuracy"]["clean"]["images"] == 36
    assert report["suite"] == "clean"
    assert list(report["submodels_used"]) == ["clean"]
    assert not report.keys() & {"attacks", "adaptive", "slowdown", "rd"}
    assert set(report["curves"]) == {"threshold", "stopping", "agreement", "widths"}
    assert all("attacked" not in row for row in report["curves"]["threshold"]["rows"])
    rows = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["attack"] for row in rows} == {"none"}
    assert not any("attacked" in row for row in rows)


def test_neither_print_nor_page_speaks_of_attacks(folder):
    printed = call("report", folder / "run", folder / "bundle").output
    commands = r"<a class=\"source\".*?</a>|<div id=\"command-.*?</div>"  # one is called attack
    page = re.sub(
        rf"<details.*?</details>|<style.*?</style>|{commands}",
        "",
        (folder / "report.html").read_text(),
        flags=re.S,
    )
    for text in (printed, page):
        lines = re.findall(r".*(?:attack|PGD|robust|adversarial|eps).*", text, re.IGNORECASE)
        assert not lines, "\n".join(line[:150] for line in lines)
    assert "Clean" in page
    assert "clean" in printed


def test_the_gate_is_calibrated_on_clean_images_alone(folder):
    calibration = parse_manifest((folder / "bundle" / "manifest.json").read_bytes()).calibration
    assert calibration.attack == "none"
    assert calibration.confidence.lost_attacked == calibration.confidence.lost_clean
    assert "attacked" not in call("export", folder / "run", folder / "bundle").output


def test_the_device_gives_a_picture_the_pixels_that_it_was_trained_with(folder):
    run = open_run(folder / "run")
    steps = run.input.preprocess
    assert (steps.shorter_side, steps.crop, steps.resize) == (16, (16, 16), None)
    pictures = sorted((folder / "Road Signs" / "test").rglob("*.jpg"))[::12]
    test = splits_for_recipe(run.recipe, folder / "Road Signs").test
    for picture in pictures:
        pixels = np.rint(255 * open_picture(picture, run.input)).astype(np.uint8)
        assert (pixels == test.images).all((1, 2, 3)).any(), picture
    lines = call("run", folder / "bundle", *pictures, "--json").output.splitlines()
    assert [json.loads(line)["class"] in run.classes for line in lines] == [True] * 3


def test_without_attacks_an_attack_that_is_asked_for_is_still_made(folder):
    result = call("attack", folder / "run", folder / "bundle", "--data", folder / "Road Signs", "--images", 8,
                  "--suite", "quick", "--only", "pgd20", "--json", folder / "asked.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert set(json.loads((folder / "asked.json").read_text())["accuracy"]) == {"pgd20", "clean"}
    refused = call(
        "attack", folder / "run", folder / "bundle", "--data", folder / "Road Signs", "--only", "pgd20"
    )
    assert "the suite clean has no attacks; leave it out or take the suite quick" in refused.output


def test_a_run_with_a_bad_recipe_file_or_module_says_what_to_do(tmp_path: Path):
    recipe = tmp_path / "marked.toml"
    recipe.write_bytes(b"\xef\xbb\xbf" + b'[net]\narch = "no_such_nets:build"\n')  # a byte-order mark
    result = call("train", recipe, "--run", tmp_path / "run")
    assert "run the command in the folder that has no_such_nets, or name that folder in PYTHONPATH" in (
        result.output
    )
