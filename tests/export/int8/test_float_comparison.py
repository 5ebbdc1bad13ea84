"""What int8 costs is counted image by image, and a team that loses too much is refused."""

import numpy as np
import pytest

from eed_edge.errors import ExportError
from eed_edge.export.gate.calibration import MemberProbs
from eed_edge.export.int8.float_comparison import DeployedRule, TeamAnswers, compare_with_float

LABELS = np.zeros(10, np.int64)
GATE = DeployedRule("confidence", {"threshold": 0.8}, None)


def probabilities(first, second=None):
    """Two members' probabilities of class 0 of two, ``(2, n, 2)``."""
    both = np.array([first, first if second is None else second], np.float32)
    return np.stack([both, 1 - both], axis=2)


def team(clean, *attacked, shared=None, gate=GATE):
    by_version = MemberProbs(clean, attacked or (clean,), LABELS)
    return TeamAnswers(gate, by_version, clean if shared is None else shared)


SURE = probabilities([0.9] * 10)
WRONG_ONCE = probabilities([0.9] * 9 + [0.1])
LATER_TWICE = probabilities([0.9] * 8 + [0.7] * 2)


def test_labels_and_stops_that_differ_are_counted():
    figures = compare_with_float(
        team(SURE, shared=WRONG_ONCE), WRONG_ONCE, team(SURE, shared=LATER_TWICE), max_drop=0.0
    )
    assert (figures.int8_images, figures.int8_labels_unlike_float, figures.int8_stops_unlike_float) == (
        10,
        1,
        2,
    )
    assert (figures.int8_labels_unlike_copy, figures.int8_stops_unlike_copy) == (0, 0)
    assert (figures.int8_lost_clean, figures.int8_lost_attacked) == (0, 0)
    assert figures.as_metrics()["int8_stops_unlike_float"] == 2.0


def test_the_loss_is_the_difference_of_the_accuracies_of_the_two_rules():
    lost = compare_with_float(team(WRONG_ONCE), WRONG_ONCE, team(SURE), max_drop=0.1)
    assert (lost.int8_lost_clean, lost.int8_lost_attacked) == pytest.approx((0.1, 0.1))
    gained = compare_with_float(team(SURE), SURE, team(WRONG_ONCE), max_drop=0.0)
    assert gained.int8_lost_clean == pytest.approx(-0.1)
    attacked = compare_with_float(team(SURE, WRONG_ONCE), SURE, team(SURE), max_drop=0.1)
    assert (attacked.int8_lost_clean, attacked.int8_lost_attacked) == pytest.approx((0, 0.1))


def test_an_image_must_be_right_under_every_attack():
    other = probabilities([0.1] + [0.9] * 9)
    figures = compare_with_float(team(SURE, WRONG_ONCE, other), SURE, team(SURE), max_drop=0.2)
    assert figures.int8_lost_attacked == pytest.approx(0.2)


@pytest.mark.parametrize("int8", [team(WRONG_ONCE), team(SURE, WRONG_ONCE)])
def test_a_team_that_loses_more_than_max_drop_is_refused_in_one_line(int8):
    message = r"^int8 is right on [^\n]*expected at most 9.00%; raise --max-drop or export without --int8$"
    with pytest.raises(ExportError, match=message):
        compare_with_float(int8, int8.shared, team(SURE), max_drop=0.09)


def test_a_copy_that_answers_otherwise_is_refused_unless_it_is_a_near_tie():
    near = probabilities([0.9] * 9 + [0.795])
    across = probabilities([0.9] * 9 + [0.805])
    figures = compare_with_float(team(near), across, team(near), max_drop=1.0)
    assert (figures.int8_labels_unlike_copy, figures.int8_stops_unlike_copy) == (0, 1)
    with pytest.raises(ExportError, match="answers 1 of 10 images differently from the int8 files"):
        compare_with_float(team(SURE), WRONG_ONCE, team(SURE), max_drop=1.0)
