"""`make portability` and `make arm64` fail when another runtime answers otherwise or a program is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eed_edge.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "portability"


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import cases

    yield cases
    for name in ("cases", "javascript"):
        sys.modules.pop(name, None)


@pytest.fixture
def expected(cases):
    """Three images; the last is a near-tie."""
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32)
    ties = np.array([False, False, True])
    return {"confidence": cases.Expected(probs.argmax(1), np.array([1, 2, 2]), probs, ties)}


def answered(expected, **lies):
    """What a runtime that tells the truth would say, and then the lies."""
    answers = expected["confidence"]
    answer = {
        "labels": answers.labels.tolist(),
        "submodels_used": answers.submodels_used.tolist(),
        "probabilities": answers.probs.tolist(),
    }
    return {"answers": [{"rule": "confidence", "how": "batch 1", **answer, **lies}]}


def test_the_same_answers_are_counted(cases, expected):
    figures = cases.compare(expected, answered(expected), "node")["confidence"]["batch 1"]
    assert (figures["images"], figures["identical"], figures["near_ties"]) == (3, 3, 1)
    assert figures["largest_probability_difference"] == 0


def test_a_near_tie_may_fall_either_way_and_is_counted(cases, expected):
    figures = cases.compare(expected, answered(expected, labels=[0, 1, 1]), "node")
    assert figures["confidence"]["batch 1"]["identical"] == 2


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ({"labels": [0, 0, 0]}, "labels differ for 1 of 3 images .* image 1: expected 1, got 0"),
        ({"submodels_used": [2, 2, 2]}, "submodels_used differ for 1 of 3 .* image 0: expected 1, got 2"),
        ({"probabilities": [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]}, "within 1e-05, got a difference of 0.1"),
        ({"probabilities": [[0.9, 0.1], [0.2, 0.8], [np.nan, 0.5]]}, "within 1e-05, got a difference of nan"),
        ({"probabilities": [[0.9, 0.1]]}, r"expected probabilities \(3, 2\), got \(1, 2\)"),
    ],
)
def test_another_answer_is_a_mismatch(cases, expected, lies, message):
    with pytest.raises(cases.MismatchError, match=f"node, confidence, batch 1: .*{message}"):
        cases.compare(expected, answered(expected, **lies), "node")


def test_no_answer_by_a_rule_is_a_mismatch(cases, expected):
    with pytest.raises(cases.MismatchError, match="expected answers by every rule, got none by confidence"):
        cases.compare(expected, {"answers": []}, "node")


def test_a_missing_program_is_named_in_one_line(cases, monkeypatch, tmp_path):
    import javascript

    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(javascript.main, [str(tmp_path), str(tmp_path / "images.npz")])
    assert result.exit_code == 1
    assert (
        result.output == "Error: expected node, which is not installed; on Debian: apt-get install nodejs\n"
    )


def test_too_few_images_are_refused(cases, tmp_path):
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match="expected at least 200 images, got 3"):
        cases.write_cases(tmp_path, tmp_path / "few.npz", tmp_path / "cases")
