import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eed_edge.errors import InputError
from eed_edge.select.diversity import all_teams, diversity_by_size, robust_diversity, team_diversities

FAILED = arrays(bool, st.tuples(st.integers(2, 6), st.integers(1, 30)))


def plain_diversity(failed):
    """Eq. 12-13 word by word: p_i is the share of images on which exactly i of the S members fail."""
    s, n = failed.shape
    p = [sum(sum(column) == i for column in failed.T) / n for i in range(s + 1)]
    p_one = sum(i / s * p[i] for i in range(1, s + 1))
    p_two = sum(i * (i - 1) / (s * (s - 1)) * p[i] for i in range(1, s + 1))
    return 1.0 if p_one == 0 else 1 - p_two / p_one


@given(FAILED)
def test_robust_diversity_equals_the_formula_word_by_word(failed):
    assert robust_diversity(failed) == pytest.approx(plain_diversity(failed), abs=1e-12)


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ([[1, 0, 0, 0], [0, 1, 0, 0]], 1.0),  # never together
        ([[1, 1, 0, 0], [1, 1, 0, 0]], 0.0),  # always together
        ([[1, 1, 0, 0], [1, 0, 0, 0]], 1 / 3),  # p_one = (1/2 + 1)/4, p_two = 1/4
        ([[0, 0], [0, 0]], 1.0),  # no failure at all
    ],
)
def test_robust_diversity_of_cases_worked_out_by_hand(failed, expected):
    assert robust_diversity(np.array(failed, bool)) == pytest.approx(expected)


@given(FAILED)
def test_team_diversities_equal_robust_diversity_of_each_team(failed):
    teams = all_teams(len(failed))
    expected = [robust_diversity(failed[team]) for team in teams]
    assert team_diversities(failed, teams).tolist() == expected


@given(FAILED)
def test_no_team_is_more_diverse_than_its_best_pair(failed):
    pairs = [robust_diversity(failed[list(pair)]) for pair in combinations(range(len(failed)), 2)]
    assert team_diversities(failed, all_teams(len(failed))).max() <= max(pairs) + 1e-12


def test_all_teams_lists_every_combination_once_small_ones_first():
    expected = [team for size in range(2, 6) for team in combinations(range(5), size)]
    assert [tuple(np.flatnonzero(team)) for team in all_teams(5)] == expected


@given(FAILED)
def test_the_spread_by_size_is_that_over_every_combination(failed):
    rows = diversity_by_size(failed)
    assert [row["size"] for row in rows] == list(range(2, len(failed) + 1))
    for row in rows:
        diversities = [
            plain_diversity(failed[list(team)]) for team in combinations(range(len(failed)), row["size"])
        ]
        assert row["teams"] == len(diversities)
        expected = (min(diversities), sum(diversities) / len(diversities), max(diversities))
        assert (row["min"], row["mean"], row["max"]) == pytest.approx(expected, abs=1e-9)


def test_independent_failures_give_one_minus_the_failure_rate():
    failed = np.random.default_rng(0).random((4, 100_000)) < 0.6
    assert robust_diversity(failed) == pytest.approx(0.4, abs=0.01)


def test_all_4083_teams_of_twelve_are_judged_in_a_fraction_of_a_second():
    failed = np.random.default_rng(0).random((12, 1000)) < 0.5
    started = time.perf_counter()
    assert team_diversities(failed, all_teams(12)).shape == (4083,)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "failed",
    [np.zeros((1, 5), bool), np.zeros((3, 0), bool), np.zeros(4, bool), np.zeros((2, 5), int)],
)
def test_a_failure_matrix_that_cannot_be_judged_is_refused(failed):
    with pytest.raises(InputError, match=r"failed: expected bool \(2 or more members"):
        robust_diversity(failed)


@pytest.mark.parametrize(
    ("teams", "message"),
    [
        (np.ones((1, 4), bool), r"teams: expected shape \(t, 3\), got \(1, 4\)"),
        (np.eye(3, dtype=bool), "teams: expected two or more members in each, got 1"),
    ],
)
def test_teams_that_do_not_fit_the_matrix_are_refused(teams, message):
    with pytest.raises(InputError, match=message):
        team_diversities(np.zeros((3, 5), bool), teams)
