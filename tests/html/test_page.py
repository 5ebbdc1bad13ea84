import base64
import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import InputError
from eed_edge.html.components import COMMANDS
from eed_edge.html.inputs import PageInputs, read_inputs
from eed_edge.html.page import PARTS, render
from eed_edge.html.sections.front import front
from eed_edge.html.sections.probability_meaning import meaning_section
from eed_edge.manifest import parse_manifest
from tests.html import sample
from tests.html.page_reader import Page, read

ROOT = Path(__file__).parents[2]


DEPLOY = "Deploy this team instead of the dense network"
SPEEDUPS = "Speed of the team, median over rounds with quartiles, relative to"


def after(page: Page, word: str) -> list[str]:
    """What follows a word of the page, without gaps."""
    return [each for each in page.words[page.words.index(word) + 1 :] if each]


def page_of(folder: Path, report, name="tiny") -> str:
    return render(read_inputs(sample.fill(folder, report), sample.bundle_manifest(name)))


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return page_of(tmp_path_factory.mktemp("run"), sample.whole_report())


@pytest.fixture(scope="module")
def page(text) -> Page:
    return read(text)


def test_every_part_is_on_the_page_of_a_whole_report(page):
    wanted = [*PARTS, "making"]
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == wanted
    assert "missing" not in page.sections
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(titles) == len(set(titles)) == 6 + 3


def test_accuracies_are_those_of_the_report_with_interval_and_images(page):
    rows = page.tables["accuracy", "Accuracy"]
    found = rows["Clean 400 images"]
    assert found[0] == "81.2 % 77.1–84.8 %"
    assert found[3] == "78.8 % 74.5–82.5 %"
    assert rows["Adaptive 400 images"][3].startswith("21.0 %")
    paper = page.tables["accuracy", "The paper's figures"]
    assert paper["Clean"] == ["87.0 %", "86.1 %"]  # ResNet-18 on CIFAR-10
    assert paper["AutoAttack"] == ["48.0 %", "48.1 %"]


def test_either_baseline_alone_has_its_section(tmp_path):
    report = sample.whole_report()
    report["single"] = report.pop("narrow")
    page = page_of(tmp_path, report)
    assert "Baselines of equal latency" in page
    assert "missing" not in read(page).sections


def test_a_narrow_network_of_a_shorter_training_is_not_said_to_have_had_the_whole_budget(tmp_path):
    report = sample.whole_report()
    by_hand = "trained from scratch, for 12 epochs set by hand"
    assert by_hand not in page_of(tmp_path, report)
    report["narrow"]["budget"]["epochs_by_hand"] = True
    assert by_hand in page_of(tmp_path, report)


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
    report = sample.whole_report()
    report["machine"]["date"] = "2026-11-07"
    facts = front(read_inputs(sample.fill(tmp_path, report), sample.bundle_manifest())).facts
    assert facts.startswith("Measured 7 November 2026 · 0.625\N{NO-BREAK SPACE}ms an image on average")
    top = page.sections[""]
    assert "clean accuracy 78.8 % dense 81.2 %, narrow 71.0 %; 400 images" in top
    assert "accuracy under adaptive attacks 21.0 % dense 45.0 %, narrow 30.0 %; 400 images" in top
    assert "speed relative to dense 2.40× 1.20× if all sub-models run; paper 1.86×" in top
    assert "model files 0.24 MiB dense 0.95 MiB" in top


def test_a_team_that_is_no_better_under_attack_than_guessing_is_warned_of(tmp_path):
    report = sample.whole_report()  # three classes
    for share, warned in ((0.34, False), (0.33, True)):
        report["accuracy"]["adaptive"]["dynamic"] = share
        told = front(read_inputs(sample.fill(tmp_path, report), sample.bundle_manifest())).warnings
        words = (
            f"under adaptive attacks the team is right on {100 * share:.1f}\N{NO-BREAK SPACE}%, no more than"
        )
        assert any(words in text for text in told) == warned


def test_a_report_without_paired_figures_is_shown(tmp_path):
    report = sample.whole_report()
    del report["paired"]
    page = read(page_of(tmp_path, report))
    assert page.tables["", "The team compared with"]["dense network"][0].endswith(
        "+3.1, not paired), 400 images"
    )
    assert ("accuracy", "Paired differences: Dynamic minus") not in page.tables


def test_paired_differences_have_interval_p_and_words(page):
    rows = page.tables["accuracy", "Paired differences: Dynamic minus"]
    assert rows["Clean 400 images"] == [
        "−2.5 points −6.0 to +1.0; p 0.5; no measurable difference",
        "+7.8 points +3.6 to +11.9; p 0.01; better",
    ]
    assert rows["Adaptive 400 images"][0].startswith("−24.0 points")


def test_other_figures_are_those_of_the_report(page):
    assert page.tables["making", "Machine and source"]["Duplicate pictures"] == [
        "train and test 3 equal, 21 nearly"
    ]
    assert page.tables["latency", "Time per image"]["mean"] == [
        "1.50 ms 0.750–3.00",
        "1.25 ms 0.625–2.50",
        "0.625 ms 0.312–1.25",
    ]
    assert page.tables["latency", "Time per image"]["99th percentile"] == ["1.50 ms", "1.25 ms", "0.625 ms"]
    assert page.tables["slowdown", "No limit"]["Slowdown"] == [
        "1.88",
        "2",
        "0.625 ms",
        "1.70 ms",
        "50.0 % 45.1–54.9 %",
    ]
    assert page.tables["slowdown", "At most 1 sub-model"]["Clean"][1] == "1"
    assert page.tables["adaptive", "Correct under this attack and all above"]["prefix 1 odd"] == [
        "25.0 % 20.0–30.0 %",
        "12.5 s",
    ]
    shifted = page.tables["shift", "Attacked and corrupted images; strength 1 is mild, 3 strong"]
    assert shifted["Noise, strength 3"] == shifted["PGD-20 on the mean of all"]
    assert shifted["Noise, strength 3"] == ["61.0 % 56.0–66.0 %", "1.60", "3.7 %", "5.0 %", "25.0 %"]
    strange = page.tables[
        "shift", "Out-of-distribution images, which belong to no class: any answer is wrong"
    ]
    assert strange["Uniform 50 images"] == ["40.0 %", "75.0 %", "2.00"]
    assert page.tables["attacks", "Settings of the attacks"]["AutoAttack"] == ["eps 8; 100 steps", "67 min"]
    assert page.tables["curves", "Accuracy against attack radius"]["4/255"] == [
        "60.0 % 50.2–69.1 %",
        "70.0 % 60.4–78.1 %",
        "60.0 % 50.2–69.1 %",
    ]
    assert page.tables["prefixes", "Accuracy by number of sub-models"]["first 2"] == [
        "79.0 % 74.7–82.7 %",
        "44.0 % 39.2–48.9 %",
        "1.25 ms",
    ]
    assert page.tables["curves", "Accuracy against time"]["never stops"][1].startswith("40.0 %")
    assert page.tables["narrow", "Training cost, MACs"]["base network"] == ["1.25 T"]
    assert page.tables["cost", "Size"]["whole team"] == ["250 k", "250 k", "0.24 MiB"]
    assert "Dynamic − static: +1.0 points." in page.sections["adaptive"]


def test_the_speed_has_its_spread_its_attacks_and_its_conditions(tmp_path, page):
    text = page.sections["latency"]
    rows = page.tables["latency", SPEEDUPS]
    assert rows["stops as under PGD-20"] == ["2.00× 1.90× to 2.10×"]
    assert rows["stops as under the slowdown attack"][0].startswith("1.50×")
    assert "Conditions: load average 0.25 to 1.25, other work on 0.12 of 2 cores, 2100 to unknown MHz" in text
    assert "warning" not in text
    report = sample.whole_report()
    report["latency"]["conditions"] = sample.conditions(1.5)
    assert "other work kept 1.5 of 2 cores busy" in page_of(tmp_path, report)


def test_dense_in_int8_stands_beside_dense_and_speedups_are_given_over_both(tmp_path):
    report = sample.whole_report()
    latency = report["latency"]
    latency["dense_int8"] = {**latency["dense"], "mean_ms": 0.75}
    latency |= {"speedup_mean_int8": 1.25, "speedup_worst_int8": 0.625}
    latency["speedups_int8"] = {"dynamic": {"median": 1.25, "low": 1.2, "high": 1.3}}
    for row in report["accuracy"].values():
        row["dense_int8"], row["interval"]["dense_int8"] = 0.5, [0.45, 0.55]
    report["cost"]["bytes"]["dense_int8"] = 2**19
    page = read(page_of(tmp_path, report))
    means = [cell.split(" ms")[0] for cell in page.tables["latency", "Time per image"]["mean"]]
    assert means == ["1.50", "0.750", "1.25", "0.625"]
    assert page.tables["latency", SPEEDUPS]["clean images"] == [
        "2.40× 2.30× to 2.50×",
        "1.25× 1.20× to 1.30×",
    ]
    assert "speed relative to dense 2.40× 1.25× over dense int8" in page.sections[""]
    assert page.tables["", "The team compared with"]["dense network in int8"][2].startswith(
        "▲ 1.25 times as fast"
    )
    assert page.tables["accuracy", "Accuracy"]["Clean 400 images"][1] == "50.0 % 45.0–55.0 %"
    assert page.tables["cost", "Size"]["dense int8"][-1] == "0.50 MiB"


def test_a_report_of_the_earlier_clock_has_its_times_and_none_of_prefixes(tmp_path):
    report = sample.whole_report()
    old = {"p50_ms", "p90_ms", "p99_ms", "mean_ms"}
    latency = report["latency"]
    for name in ("prefixes", "speedups", "conditions"):
        del latency[name]
    for name in ("dense", "static", "dynamic"):
        latency[name] = {key: value for key, value in latency[name].items() if key in old}
    page = read(page_of(tmp_path, report))
    assert page.tables["latency", "Time per image"]["mean"] == ["1.50 ms", "1.25 ms", "0.625 ms"]
    assert page.tables["prefixes", "Accuracy by number of sub-models"]["first 2"][-1] == "–"


def test_every_table_and_chart_links_to_the_command_that_makes_it(page):
    made = {
        attributes["href"]
        for tag, attributes in page.tags
        if tag == "a" and attributes.get("class") == "source"
    }
    assert made == {f"#command-{name}" for name in ("attack", "bench", "narrow", "train")}
    assert "eed-edge attack run bundle --data 'a & b'" in page.sections["making"]  # as it was called
    assert COMMANDS["bench"] in page.sections["making"]  # in general: the report has not recorded it


def test_every_picture_says_what_it_shows(page):
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert "test image of class cat, clean" in alts
    assert len(alts) == 3 + 3 + 1
    assert all(alts)


def test_one_figure_has_one_value_wherever_it_stands(page):
    """The team's mean time and tail under the slowdown table's own gate are those of the section Speed."""
    times = [row[2:4] for row in (page.tables["slowdown", "No limit"]["Clean"],)]
    assert times == [["0.625 ms", "0.625 ms"]]
    times = {title: row[-1] for title, row in page.tables["curves", "Accuracy against time"].items()}
    assert times["0.600"] == "0.625 ms"
    assert list(times.values()).count("0.625 ms") == 1
    assert "mean time per image 0.625 ms" in page.sections[""]


def test_a_probability_is_explained_with_its_error_before_and_after_calibration(tmp_path):
    report = sample.whole_report()
    report["shift"]["clean"]["ece_uncalibrated"] = 0.497
    inputs = read_inputs(sample.fill(tmp_path, report), sample.bundle_manifest())
    bare = " ".join(meaning_section(inputs).caption)
    assert "are not calibrated: 0.90 does not mean that 90 % of such answers are right" in bare
    calibrated = dataclasses.replace(inputs.manifest, temperatures=(0.4, 0.5))
    section = meaning_section(dataclasses.replace(inputs, manifest=calibrated))
    text = " ".join(section.caption)
    assert not section.warnings
    assert "A probability of 0.90 is meant to say: of 100 such answers, 90 are right." in text
    assert (
        "differ by 3.7 points on average (expected calibration error, ECE; 49.7 points before calibration)"
        in text
    )
    report["shift"]["clean"]["ece"] = 0.2
    [warning] = meaning_section(dataclasses.replace(inputs, report=report)).warnings
    assert "The calibration error on clean test images is large, 20.0 points" in warning


@pytest.mark.parametrize("name", ["cifar10-resnet18-w16", "cifar10-resnet18"])
def test_reports_of_published_models_still_have_a_page(name):
    folder = ROOT / "models" / name
    figures = json.loads((folder / "report.json").read_text())
    manifest = parse_manifest((folder / "bundle" / "manifest.json").read_bytes())
    page = read(render(PageInputs(figures, manifest, [], {})))
    answer = after(page, f"eed-edge report: {name}")[0]
    assert answer == {"cifar10-resnet18-w16": "It depends on what counts"}.get(name, DEPLOY)
    assert "learning curves" in page.sections["missing"]


def test_what_is_an_alarm_is_said_at_the_top_too(page):
    assert page.words.count("the stop may hide gradients") == 2


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
    report = sample.whole_report()
    text = page_of(tmp_path, report, "<script>alert(1)</script>")
    page = read(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "b")]
    assert "eed-edge report: <script>alert(1)</script>" in page.words
    assert any("<b>dog</b>" in word for word in page.words)
    assert "AutoAttack: masked <?>" in page.words
    assert "a$b$" in page.words  # a layer's name is not a formula
    assert "eed-edge attack run bundle --data 'a & b'" in page.words


def test_the_same_report_gives_the_same_bytes_in_another_process(tmp_path, text):
    run = sample.fill(tmp_path, sample.whole_report())
    code = (
        "import sys; from pathlib import Path; from eed_edge import html; from tests.html import sample;"
        "html.write_page(Path(sys.argv[1]), sample.bundle_manifest(), Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, run, tmp_path / "page.html"], cwd=ROOT, check=True)
    assert (tmp_path / "page.html").read_text() == text


def test_a_user_s_own_matplotlib_settings_change_nothing(tmp_path, text):
    from matplotlib import rc_context

    with rc_context({"axes.titlesize": 30, "xtick.direction": "in", "lines.markeredgewidth": 4}):
        assert page_of(tmp_path, sample.whole_report()) == text


def test_a_report_of_accuracy_and_latency_alone_says_how_to_make_the_rest(tmp_path):
    whole = sample.whole_report()
    (tmp_path / "report.json").write_text(
        sample.json.dumps({key: whole[key] for key in ("accuracy", "latency")})
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
    report = sample.whole_report()
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


def test_without_the_paper_s_data_set_its_figures_are_not_shown(tmp_path):
    report = sample.whole_report()
    report["recipe"]["data"]["name"] = "digits"
    page = read(page_of(tmp_path, report))
    assert ("accuracy", "The paper's figures") not in page.tables
    assert "paper 1.86×" not in page.sections[""]


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
    report = sample.whole_report() | {key: damage}
    with pytest.raises(
        InputError, match=r"report\.json: .* is not as docs/REPORT\.md describes it .*; measure"
    ):
        page_of(tmp_path, report)


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_the_strip_shows_the_very_pixels_and_magnifies_what_was_added_around_grey(page):
    images = [(tag["alt"], pixels(tag["src"])) for name, tag in page.tags if name == "img"]
    (_, clean), (title, added), (_, attacked) = images[:3]
    assert title == "perturbation of that image, times 16"  # 0.5 / 0.03125
    assert (clean == 128).all()
    assert attacked[0, 0].tolist() == [135, 128, 128]
    assert added[0, 0].tolist() == [255, 128, 128]
    assert (added.reshape(-1, 3)[1:] == 128).all()
    np.testing.assert_array_equal(images[6][1], sample.arrays()["images"][1])  # the one that needed two


def test_right_and_wrong_are_told_without_colour(page):
    rows = page.tables["examples", "Predictions, class <b>dog</b>"]
    assert rows["1"] == ["✓ <b>dog</b>", '✗ owl "&"']
    assert rows["team"] == ["✓ <b>dog</b> 1 of 2 run", '✗ owl "&" 2 of 2 run']
