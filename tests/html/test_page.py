import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import InputError
from eed_edge.html.inputs import read_inputs
from eed_edge.html.page import PARTS, render
from tests.html import sample
from tests.html.page_reader import Page, read

ROOT = Path(__file__).parents[2]


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
    assert "Not measured" not in " ".join(page.words)
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(titles) == len(set(titles)) == 6 + 3


def test_accuracies_are_those_of_the_report_with_interval_and_images(page):
    rows = page.tables["accuracy", "Right answers"]
    found = rows["Clean 400 images"]
    assert found[0] == "81.2 % 77.1–84.8 %"
    assert found[3] == "78.8 % 74.5–82.5 %"
    assert found[4:] == ["87.0 %", "86.1 %"]  # the paper's ResNet-18 on CIFAR-10
    assert rows["AutoAttack 400 images"][4:] == ["48.0 %", "48.1 %"]
    assert rows["Adaptive 400 images"][3].startswith("21.0 %")
    assert rows["Adaptive 400 images"][4:] == ["–", "–"]


def test_either_baseline_alone_has_its_section(tmp_path):
    report = sample.whole_report()
    report["single"] = report.pop("narrow")
    page = page_of(tmp_path, report)
    assert "eed-edge narrow RUN" not in page
    assert "Networks of the same latency" in page


def test_a_narrow_network_of_a_shorter_training_is_not_said_to_have_had_the_whole_budget(tmp_path):
    report = sample.whole_report()
    by_hand = "trained from new weights, for 12 epochs set by hand"
    assert by_hand not in page_of(tmp_path, report)
    report["narrow"]["budget"]["epochs_by_hand"] = True
    assert by_hand in page_of(tmp_path, report)


def verdict_of(page: Page) -> str:
    return next(word for word in page.words if word.startswith("Against"))


def test_the_verdict_says_who_is_better_as_far_as_the_paired_interval_carries_it(page):
    verdict = verdict_of(page)
    assert "2.40× as fast on average (1.20× when every sub-model runs)" in verdict
    assert (
        "not measurably more or less accurate on clean images (78.8 % against 81.2 %; −2.5 points," in verdict
    )
    assert "less robust under the adaptive evaluation (21.0 % against 45.0 %; −24.0 points, " in verdict


def test_a_report_without_paired_figures_is_shown_and_overlapping_intervals_say_nothing(tmp_path):
    report = sample.whole_report()
    del report["paired"]
    page = read(page_of(tmp_path, report))
    assert "not measurably more or less accurate on clean images (78.8 % against 81.2 %; the" in verdict_of(
        page
    )
    assert verdict_of(page).endswith("less robust under the adaptive evaluation (21.0 % against 45.0 %).")
    assert ("accuracy", "Dynamic minus") not in page.tables


def test_as_robust_is_said_only_where_the_whole_interval_is_within_a_point(tmp_path):
    report = sample.whole_report()
    report["paired"]["adaptive"]["dense"] = sample.difference(20, 20, 10_000)
    assert "as robust within 1 point under the adaptive" in page_of(tmp_path, report)
    report["paired"]["adaptive"]["dense"] = sample.difference(20, 20, 400)
    assert "as robust" not in page_of(tmp_path, report)


def test_paired_differences_have_interval_p_and_words(page):
    rows = page.tables["accuracy", "Dynamic minus"]
    assert rows["Clean 400 images"] == [
        "−2.5 points −6.0 to +1.0; p 0.5; no measurable difference",
        "+7.8 points +3.6 to +11.9; p 0.01; better",
    ]
    assert rows["Adaptive 400 images"][0].startswith("−24.0 points")


def test_other_figures_are_those_of_the_report(page):
    assert page.tables["making", "Machine and source"]["duplicate pictures"] == [
        "train and test 3 equal, 21 nearly"
    ]
    assert page.tables["latency", "Time per image"]["mean"] == [
        "1.50 ms 0.750–3.00",
        "1.25 ms 0.625–2.50",
        "0.625 ms 0.312–1.25",
    ]
    assert page.tables["latency", "Time per image"]["p99"] == ["1.50 ms", "1.25 ms", "0.625 ms"]
    assert page.tables["slowdown", "No cap"]["Slowdown"] == [
        "1.88",
        "2",
        "0.625 ms",
        "1.70 ms",
        "50.0 % 45.1–54.9 %",
    ]
    assert page.tables["slowdown", "At most 1 sub-model"]["Clean"][1] == "1"
    assert page.tables["adaptive", "Right clean, under this attack and those above"]["prefix 1 odd"] == [
        "25.0 % 20.0–30.0 %",
        "12.5 s",
    ]
    shifted = page.tables["shift", "Attacked and corrupted images; strength 1, 2, 3"]
    assert shifted["noise 3"] == shifted["PGD-20"]
    assert shifted["noise 3"] == ["61.0 % 56.0–66.0 %", "1.60", "3.7 %", "5.0 %", "25.0 %"]
    assert page.tables["shift", "Images of no class"]["uniform 50 images"] == ["2.00", "40.0 %", "75.0 %"]
    assert page.tables["attacks", "Settings"]["AutoAttack"] == ["eps 8; steps 100", "67 min"]
    assert page.tables["curves", "Accuracy against eps"]["4/255"] == [
        "60.0 % 50.2–69.1 %",
        "70.0 % 60.4–78.1 %",
        "60.0 % 50.2–69.1 %",
    ]
    assert page.tables["prefixes", "Right answers of every prefix"]["first 2"] == [
        "79.0 % 74.7–82.7 %",
        "44.0 % 39.2–48.9 %",
        "1.25 ms",
    ]
    assert page.tables["curves", "Accuracy against time"]["never stops"][1].startswith("40.0 %")
    assert page.tables["narrow", "MACs of the trainings, at most"]["base"] == ["1.25 T"]
    assert page.tables["cost", "Parameters, MACs and files"]["whole team"] == ["250 k", "250 k", "0.24 MiB"]
    assert "Dynamic − static: +1.0 points." in page.sections["adaptive"]


def test_the_speed_has_its_spread_its_attacks_and_its_conditions(tmp_path, page):
    text = page.sections["latency"]
    assert "speed-up, PGD-20 2.00× over dense, 1.90× to 2.10×" in text
    assert "speed-up, slow-down attack 1.50×" in text
    assert "Timed at load average 0.25 to 1.25, other work on 0.12 of 2 cores, 2100 to unknown MHz" in text
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
    assert "speed-up, clean 1.25× over dense int8, 1.20× to 1.30×" in page.sections["latency"]
    words = " ".join(page.words)
    assert "2.40× as fast on average" in words
    assert "1.25× as fast as that network in int8" in words
    assert "speed-up, mean 1.25× over dense int8" in words
    assert page.tables["accuracy", "Right answers"]["Clean 400 images"][1] == "50.0 % 45.0–55.0 %"
    assert page.tables["cost", "Parameters, MACs and files"]["dense int8"][-1] == "0.50 MiB"


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
    assert page.tables["prefixes", "Right answers of every prefix"]["first 2"][-1] == "–"


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
    assert "<script>alert(1)</script>" in page.words
    assert any("<b>dog</b>" in word for word in page.words)
    assert "AutoAttack: masked <?>" in page.words
    assert "a$b$" in page.words  # a layer's name is not a formula
    assert "# attack eed-edge attack run bundle --data 'a & b'" in page.words


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
    assert page.tables["accuracy", "Right answers"]["Clean 400 images"][3].startswith("78.8 %")
    for key, part in PARTS.items():
        if key not in ("accuracy", "latency"):
            assert f"Not measured yet. This makes it: {part.command}" in page.sections[key]


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
        assert "Not measured yet" in page.sections[key]
    if key != "curves":
        assert "Not measured: threshold, eps, agreement, widths; eed-edge attack" in page.sections["curves"]


def test_without_the_paper_s_data_set_its_figures_are_not_shown(tmp_path):
    report = sample.whole_report()
    report["recipe"]["data"]["name"] = "digits"
    page = read(page_of(tmp_path, report))
    assert len(page.tables["accuracy", "Right answers"]["Clean 400 images"]) == 4
    assert "has no figures for resnet18 on digits" in page.sections["accuracy"]


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
    assert title == "added ×16"  # 0.5 / 0.03125
    assert (clean == 128).all()
    assert attacked[0, 0].tolist() == [135, 128, 128]
    assert added[0, 0].tolist() == [255, 128, 128]
    assert (added.reshape(-1, 3)[1:] == 128).all()
    np.testing.assert_array_equal(images[6][1], sample.arrays()["images"][1])  # the one that needed two


def test_right_and_wrong_are_told_without_colour(page):
    rows = page.tables[
        "examples", "What was said"
    ]  # of the last image: each takes the place of the one before
    assert rows["sub-model 1"] == ["✓ <b>dog</b>", '✗ owl "&"']
    assert rows["deployed rule"] == ["✓ <b>dog</b> ran 1 of 2", '✗ owl "&" ran 2 of 2']
