"""Candidates of the pool: importance scores × data subsets."""

from dataclasses import dataclass

import numpy as np

from eed_edge.prune.importance import SCORES
from eed_edge.recipe import Pool, Recipe
from eed_edge.seeds import subset_seed


@dataclass(frozen=True)
class Candidate:
    """One entry of the pool: its importance score, its data subset and its place in the pool."""

    score: str
    subset: int
    index: int

    @property
    def name(self) -> str:
        """File name without its suffix, such as ``nis-0``."""
        return f"{self.score}-{self.subset}"


def candidates(recipe: Recipe) -> list[Candidate]:
    """All candidates of a recipe: every score with every subset, 12 by default."""
    pairs = [(score, subset) for score in recipe.scores.names for subset in range(recipe.pool.subsets)]
    return [Candidate(score, subset, index) for index, (score, subset) in enumerate(pairs)]


def subset_indices(n: int, candidate: Candidate, *, cfg: Pool, seed: int) -> np.ndarray:
    """Training images of a candidate: the shared part and one of equal parts of the rest, sorted.

    Each score shuffles the images differently, unless ``cfg.shared_by`` is ``all``; subsets of one score
    overlap in the shared part only.

    Args:
        n: number of training images.

    Returns:
        ``(m,)`` indices below ``n``.

    Source:
        EED, sec. 5.1: 25 % shared, 75 % split over three.
    """
    score_number = 0 if cfg.shared_by == "all" else list(SCORES).index(candidate.score)
    order = np.random.default_rng(subset_seed(seed, score_number)).permutation(n)
    shared, rest = np.split(order, [round(cfg.shared * n)])
    return np.sort(np.concatenate([shared, np.array_split(rest, cfg.subsets)[candidate.subset]]))
