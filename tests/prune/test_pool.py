"""The pool's data subsets are those of the paper."""

import numpy as np

from eed_edge.prune import pool
from eed_edge.recipe import Pool, Recipe


def subsets(score: int, n: int = 1000) -> list[set[int]]:
    chosen = pool.candidates(Recipe())[3 * score : 3 * score + 3]
    return [set(pool.subset_indices(n, c, cfg=Pool(), seed=7).tolist()) for c in chosen]


def test_there_are_twelve_candidates_of_four_scores_and_three_subsets():
    found = pool.candidates(Recipe())
    assert len({candidate.name for candidate in found}) == 12
    assert {candidate.score for candidate in found} == {"nis", "erm", "ase", "bnsf"}


def test_a_quarter_is_shared_and_the_rest_is_split_over_three():
    parts = subsets(0)
    shared = set.intersection(*parts)
    assert len(shared) == 250
    assert [len(part) for part in parts] == [500, 500, 500]
    assert set.union(*parts) == set(range(1000))
    assert parts[0] & parts[1] == shared


def test_subsets_are_shuffled_anew_for_each_score():
    first, second = subsets(0), subsets(1)
    overlap = len(set.intersection(*first) & set.intersection(*second))
    assert 30 < overlap < 100  # 62.5 expected of two independent quarters
    assert not any(np.array_equal(sorted(a), sorted(b)) for a in first for b in second)
