"""Paired figures against a slow bootstrap image by image and scipy's own test."""

import numpy as np
import pytest
from scipy.stats import binomtest

from eed_edge.evaluate.paired import bootstrap_interval, mcnemar, paired_figures, paired_row
from eed_edge.evaluate.per_image import AttackVerdicts
from eed_edge.report.paired_words import comparison


def two_networks(images, seed, gap=0.1):
    """Correctness of two networks that mostly agree, the first better by about ``gap``."""
    rng = np.random.default_rng(seed)
    first = rng.random(images) < 0.7
    second = np.where(rng.random(images) < 0.8, first, rng.random(images) < 0.7 - gap)
    return first, second


@pytest.mark.parametrize(("images", "seed"), [(60, 0), (300, 1), (1000, 2)])
def test_the_interval_is_that_of_drawing_images_with_replacement(images, seed):
    first, second = two_networks(images, seed)
    rng = np.random.default_rng(9)
    slow = []
    for _ in range(4000):
        drawn = rng.integers(0, images, images)
        slow.append(first[drawn].mean() - second[drawn].mean())
    row = paired_row(first, second)
    assert row["difference"] == pytest.approx(first.mean() - second.mean())
    np.testing.assert_allclose(
        row["interval"], np.quantile(slow, (0.025, 0.975)), atol=0.15 / np.sqrt(images)
    )


@pytest.mark.parametrize(("only", "other"), [(0, 0), (1, 0), (0, 6), (5, 5), (12, 30), (300, 251)])
def test_p_is_that_of_the_binomial_test_on_the_discordant_images(only, other):
    expected = binomtest(only, only + other, 0.5).pvalue if only + other else 1.0
    assert mcnemar(only, other) == pytest.approx(expected)


def test_a_difference_that_is_there_by_chance_is_outside_its_interval_in_about_a_twentieth_of_samples():
    rng = np.random.default_rng(0)
    misses = 0
    for _ in range(400):
        cells = rng.multinomial(500, [0.12, 0.08, 0.8])
        low, high = bootstrap_interval(int(cells[0]), int(cells[1]), 500)
        misses += not low <= 0.04 <= high
    assert 8 <= misses <= 36  # 20 expected


def test_dynamic_is_paired_with_every_other_network_and_not_with_itself():
    yes, no = np.ones(4, np.bool_), np.zeros(4, np.bool_)
    right = {"dense": yes, "single": no, "static": yes, "dynamic": np.array([True, True, True, False])}
    row = paired_figures({"pgd20": AttackVerdicts(np.arange(4), right)})["pgd20"]
    assert list(row) == ["images", "dense", "single", "static"]
    assert row["images"] == 4
    assert (row["dense"]["only_dynamic"], row["dense"]["only_other"]) == (0, 1)
    assert (row["single"]["difference"], row["single"]["only_dynamic"]) == (0.75, 3)


@pytest.mark.parametrize(
    ("only", "other", "images", "expected"),
    [
        (60, 20, 1000, "more"),
        (20, 60, 1000, "less"),
        (30, 30, 1000, "unclear"),
        (30, 30, 10_000, "equal"),
        (4, 0, 20, "unclear"),  # the interval excludes 0, but four coins fall alike in an eighth of throws
        (0, 0, 20, "unclear"),
    ],
)
def test_only_an_interval_that_carries_it_makes_a_claim(only, other, images, expected):
    row = {
        "interval": bootstrap_interval(only, other, images),
        "p": mcnemar(only, other),
        "only_dynamic": only,
        "only_other": other,
    }
    assert comparison(row) == expected
