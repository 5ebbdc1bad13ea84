"""A run where a bundle is expected, and the other way round, is named as what it is."""

import pytest

from eed_edge.arguments import MAX_THREADS
from eed_edge.cli.options import THREADS
from tests.conftest import call
from tests.formats.stored import DATA, STORED

BUNDLE, RUN = STORED / "bundle", STORED / "run"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ["check", RUN],
            1,
            f"has no manifest.json; it is a run, eed-edge export {RUN} BUNDLE makes a bundle",
        ),
        (["bench", RUN], 1, "it is a run"),
        (["run", RUN, "x.png"], 1, "it is a run"),
        (["check", DATA], 1, "has no manifest.json; check the path or export again"),
        (
            ["run", BUNDLE / "manifest.json", "x.png"],
            1,
            "expected a bundle, the folder with its manifest",
        ),
        (["run", DATA / "test.npz", "x.png"], 1, f"got the file {DATA / 'test.npz'}; name one of these"),
        (["run", BUNDLE / "submodel-0.onnx", "x.png"], 1, "it is no cascade.onnx; give the bundle's folder"),
        (["export", RUN, RUN], 1, "expected a new folder or a bundle to replace, got a run; choose another"),
        (["export", RUN, DATA / "test.npz"], 1, "to replace, got a file; choose another"),
        (["export", RUN, STORED], 1, "to replace, got a folder with "),
        (["train", RUN, "--run", "x"], 1, f"for a folder of pictures, eed-edge init {RUN} writes one"),
        (
            ["train", DATA / "test.npz", "--run", "x"],
            1,
            "expected a TOML file, got one that is no UTF-8 text",
        ),
        (
            ["init", STORED / "nowhere"],
            1,
            "nowhere: expected a folder with one subfolder per class, there is",
        ),
        (["web", RUN], 1, "it is a run"),
        (["check", BUNDLE, "--json", "x.txt"], 2, "a file behind --json has a name that ends in .json"),
        (["export", BUNDLE, "x"], 1, "no run here (run.json is missing): it is a bundle; make one with"),
        (["export", DATA, "x"], 1, "no run here (run.json is missing); make one with eed-edge train"),
        (
            ["report", BUNDLE, RUN],
            2,
            f"RUN comes before BUNDLE, got the bundle {BUNDLE} before the run {RUN}",
        ),
        (["attack", BUNDLE, RUN], 2, "RUN comes before BUNDLE"),
        (["narrow", BUNDLE, RUN], 2, "RUN comes before BUNDLE"),
    ],
)
def test_what_stands_there_is_named_in_one_line(words, code, text):
    result = call(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert text in result.stderr


def test_threads_out_of_range_are_a_wrong_call_on_both_sides():
    assert THREADS.max == MAX_THREADS
    for count in (0, MAX_THREADS + 1):
        assert call("run", BUNDLE, "x.png", "--threads", count).exit_code == 2
        assert call("bench", BUNDLE, "--threads", count).exit_code == 2


def test_a_cap_above_the_number_of_sub_models_is_said(caplog):
    assert call("run", BUNDLE, DATA / "test.npz", "--max-submodels", 9).exit_code == 0
    assert "the bundle has 2 sub-models: max_submodels 9 is no limit" in caplog.text
    caplog.clear()
    call("run", BUNDLE, DATA / "test.npz", "--max-submodels", 2)
    assert caplog.text == ""
