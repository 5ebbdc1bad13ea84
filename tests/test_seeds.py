"""Derived seeds are those that published results were made with."""

import pytest

from eed_edge import seeds
from eed_edge.prune.candidates import Candidate, subset_indices
from eed_edge.prune.importance import SCORES
from eed_edge.recipe import Pool


@pytest.mark.parametrize(
    ("derived", "expected"),
    [
        (seeds.holdout_seed(7), [7, 1]),
        (seeds.train_split_seed(7), [7, 2]),
        (seeds.epoch_seed(7, 3), 7_000_024),
        (seeds.process_seed(7, 2), 30_971_733),
        (seeds.candidate_seed(7, 3), 7_067),
        (seeds.subset_seed(7, 3), [7, 3]),
        (seeds.joint_seed(7), 500_007),
        (seeds.narrow_seed(7), 700_007),
        (seeds.prefix_seed(7, 3), 10),
        (seeds.range_seed(7), 900_007),
        (seeds.job_seed(0, "base", "pgd"), 1_584_161_361),
        (seeds.image_seed(7, 3), [7, 3]),
    ],
)
def test_a_derived_seed_has_this_value(derived, expected):
    assert derived == expected


def test_the_order_of_the_first_scores_which_seeds_the_subsets_is_fixed():
    assert tuple(SCORES)[:4] == ("nis", "erm", "ase", "bnsf")


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("nis", [0, 1, 3, 4, 6, 10]),
        ("erm", [0, 6, 7, 8, 10, 11]),
        ("ase", [0, 1, 3, 4, 5, 11]),
        ("bnsf", [2, 3, 4, 5, 7, 8]),
    ],
)
def test_the_subset_of_a_score_has_these_images(score, expected):
    assert subset_indices(12, Candidate(score, 0, 0), cfg=Pool(), seed=7).tolist() == expected
