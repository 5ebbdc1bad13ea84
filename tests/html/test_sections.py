"""The sections: their figures are those of the report."""

import base64
import dataclasses
import io

import numpy as np
from PIL import Image

from eed_edge.html.inputs import read_inputs
from eed_edge.html.sections.probability_meaning import meaning_section
from tests.html import sample
from tests.html.conftest import page_of
from tests.html.page_reader import read

SPEEDUPS = "Speed of the team, median over rounds with quartiles, relative to"


def test_accuracies_are_those_of_the_report_with_interval_and_images(page):
    rows = page.tables["accuracy", "Accuracy"]
    row = rows["Clean 400 images"]
    assert row[0] == "81.2 % 77.1–84.8 %"
    assert row[3] == "78.8 % 74.5–82.5 %"
    assert rows["Adaptive 400 images"][3].startswith("21.0 %")
    paper = page.tables["accuracy", "The paper's figures"]
    assert paper["Clean"] == ["87.0 %", "86.1 %"]  # ResNet-18 on CIFAR-10
    assert paper["AutoAttack"] == ["48.0 %", "48.1 %"]


def test_either_baseline_alone_has_its_section(tmp_path):
    report = sample.full_report()
    report["single"] = report.pop("narrow")
    page = page_of(tmp_path, report)
    assert "Baselines of equal latency" in page
    assert "missing" not in read(page).sections


def test_a_narrow_network_of_a_shorter_training_is_not_said_to_have_had_the_whole_budget(tmp_path):
    report = sample.full_report()
    by_hand = "trained from scratch, for 12 epochs set by hand"
    assert by_hand not in page_of(tmp_path, report)
    report["narrow"]["budget"]["epochs_by_hand"] = True
    assert by_hand in page_of(tmp_path, report)


def test_a_report_without_paired_figures_is_shown(tmp_path):
    report = sample.full_report()
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
    assert page.tables["slowdown", "As deployed"]["Slowdown"] == [
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
    report = sample.full_report()
    report["latency"]["conditions"] = sample.conditions(1.5)
    assert "other work kept 1.5 of 2 cores busy" in page_of(tmp_path, report)


def test_dense_in_int8_stands_beside_dense_and_speedups_are_given_over_both(tmp_path):
    report = sample.full_report()
    latency = report["latency"]
    latency["dense_int8"] = {**latency["dense"], "mean_ms": 0.75}
    latency |= {"speedup_mean_int8": 1.25, "speedup_worst_int8": 0.625}
    latency["speedups_int8"] = {"dynamic": {"median": 1.25, "low": 1.2, "high": 1.3}}
    for row in report["accuracy"].values():
        row["dense_int8"], row["interval"]["dense_int8"] = 0.5, [0.45, 0.55]
    report["cost"]["bytes"]["dense_int8"] = 2**19
    latency["other_bundle"] = {**latency["dense"], "mean_ms": 0.25}
    latency["load_ms"] |= {"dense_int8": 35.0, "other_bundle": 25.0}
    page = read(page_of(tmp_path, report))
    means = [cell.split(" ms")[0] for cell in page.tables["latency", "Time per image"]["mean"]]
    assert means == ["1.50", "0.750", "1.25", "0.625", "0.250"]
    loading = page.tables["latency", "Loading and memory, each network in a process of its own"]
    assert (loading["dense int8"][0], loading["other bundle"][0]) == ("35.0 ms", "25.0 ms")
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
    report = sample.full_report()
    old = {"p50_ms", "p90_ms", "p99_ms", "mean_ms"}
    latency = report["latency"]
    for name in ("prefixes", "speedups", "conditions"):
        del latency[name]
    for name in ("dense", "static", "dynamic"):
        latency[name] = {key: value for key, value in latency[name].items() if key in old}
    page = read(page_of(tmp_path, report))
    assert page.tables["latency", "Time per image"]["mean"] == ["1.50 ms", "1.25 ms", "0.625 ms"]
    assert page.tables["prefixes", "Accuracy by number of sub-models"]["first 2"][-1] == "–"


def test_every_picture_says_what_it_shows(page):
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert "test image of class cat, clean" in alts
    assert len(alts) == 3 + 3 + 1
    assert all(alts)


def test_one_figure_has_one_value_wherever_it_stands(page):
    """The team's mean time and tail under the slowdown table's own gate are those of the section Speed."""
    times = [row[2:4] for row in (page.tables["slowdown", "As deployed"]["Clean"],)]
    assert times == [["0.625 ms", "0.625 ms"]]
    times = {title: row[-1] for title, row in page.tables["curves", "Accuracy against time"].items()}
    assert times["0.600"] == "0.625 ms"
    assert list(times.values()).count("0.625 ms") == 1
    assert "mean time per image 0.625 ms" in page.sections[""]


def test_a_probability_is_explained_with_its_error_before_and_after_calibration(tmp_path):
    report = sample.full_report()
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


def test_without_the_paper_s_data_set_its_figures_are_not_shown(tmp_path):
    report = sample.full_report()
    report["recipe"]["data"]["name"] = "digits"
    page = read(page_of(tmp_path, report))
    assert ("accuracy", "The paper's figures") not in page.tables
    assert "paper 1.86×" not in page.sections[""]


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
