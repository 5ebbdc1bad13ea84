"""The deployed rule against each other network on the same images: difference, interval and test."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binom

from eed_edge.arrays import Bools
from eed_edge.evaluate.per_image import AttackVerdicts
from eed_edge.report.names import NETWORKS

RESAMPLES = 10_000
SEED = 0


def paired_figures(attacks: Mapping[str, AttackVerdicts]) -> dict[str, Any]:
    """The report's ``paired``: by attack, the figures of ``dynamic`` against every other network."""
    return {
        attack: {
            "images": len(each.rows),
            **{
                name: paired_row(each.right["dynamic"], each.right[name])
                for name in NETWORKS
                if name in each.right and name != "dynamic"
            },
        }
        for attack, each in attacks.items()
    }


def paired_row(right: Bools, other: Bools) -> dict[str, Any]:
    """Difference of two accuracies on the same ``(n,)`` images, its 95 % interval, and McNemar's p.

    Returns:
        ``{difference, interval, p, only_dynamic, only_other}``: a fraction, ``right`` minus ``other``; its
        interval; the exact two-sided p; and the images that only one of the two has right.
    """
    only, other_only = int((right & ~other).sum()), int((other & ~right).sum())
    return {
        "difference": (only - other_only) / len(right),
        "interval": bootstrap_interval(only, other_only, len(right)),
        "p": mcnemar(only, other_only),
        "only_dynamic": only,
        "only_other": other_only,
    }


def bootstrap_interval(only: int, other_only: int, images: int) -> list[float]:
    """The 95 % percentile interval of a paired difference, over images drawn with replacement.

    Drawing images and counting those that only one network has right is one multinomial draw.
    """
    shares = np.array([only, other_only, images - only - other_only]) / images
    counts = np.random.default_rng(SEED).multinomial(images, shares, RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / images, (0.025, 0.975))
    return [float(low), float(high)]


def mcnemar(only: int, other_only: int) -> float:
    """The exact two-sided p of McNemar's test: each discordant image falls to either side like a coin.

    Source:
        Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    return min(1.0, 2 * float(binom.cdf(min(only, other_only), only + other_only, 0.5)))
