"""Widths: channels to keep per group so that the network meets its budget."""

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from eed_edge.errors import NetworkError
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.member_time import TimeBudget
from eed_edge.recipe import Recipe
from eed_edge.train.networks.build import Classifier

log = logging.getLogger(__name__)


class Budget(NamedTuple):
    """The most parameters and multiply-accumulates that a network may have."""

    params: float
    macs: float


def member_budget(base: Classifier, image: Tensor, recipe: Recipe) -> Budget:
    """Parameters and MACs that one member may have."""
    params, macs = count_cost(base, image)
    return Budget(recipe.prune.member_share * params, recipe.prune.member_share * macs)


def _remedy(structure: Structure, share: float) -> str:
    """What to do when the smallest member has this share of the base."""
    if 2 * share <= 0.99:
        return (
            f"raise prune.member_share to {share:g} and keep prune.sparsity at {1 - 2 * share:.3f} or less,"
            " lower prune.round_to or widen the base"
        )
    most = max(structure.unpruned, key=lambda entry: entry.channels, default=None)
    why = f" ({most.layers[0]} stays: {most.reason})" if most else ""
    return f"two of them are as large as the base: too little can be pruned{why}; widen the other layers"


def smallest_share(structure: Structure, *, round_to: int, branches: bool = False) -> float:
    """The smallest ``prune.member_share`` that fits, rounded up to three digits."""
    full = {group.root: group.channels for group in structure.groups}
    least = {
        group.root: _rounded(0, group.channels, round_to, 0 if branches and group.branch else round_to)
        / group.channels
        for group in structure.groups
    }
    pairs = zip(structure.cost(least), structure.cost(dict.fromkeys(full, 1.0)), strict=True)
    share = float(max(part / total for part, total in pairs))
    return math.ceil(1000 * share) / 1000


def choose_widths(
    structure: Structure,
    keep_ratio: Mapping[str, float],
    budget: Budget,
    *,
    round_to: int,
    branches: bool = False,
    time: TimeBudget | None = None,
) -> dict[str, int]:
    """Choose multiples of ``round_to`` near the keep ratios, as wide as the budget allows.

    All ratios are scaled by one factor, the largest that fits; the rest of the budget goes,
    ``round_to`` channels at a time, to the groups furthest below their ratio.

    Args:
        keep_ratio: group root to a share in (0, 1].
        branches: whether a removable branch may be removed, by rounding down to no channels.
        time: the time that the network may take besides; None does not limit it.

    Returns:
        Group root to width. A group of fewer than ``round_to`` channels keeps all.

    Raises:
        NetworkError: even the smallest widths do not fit the budget.
    """
    full = {group.root: group.channels for group in structure.groups}
    least = {group.root: 0 if branches and group.branch else round_to for group in structure.groups}
    for group in structure.groups:
        if group.channels % round_to:
            log.info("%s: %d channels are no multiple of %d", group.root, group.channels, round_to)

    def fits(widths: Mapping[str, int]) -> bool:
        ratios = {root: width / full[root] for root, width in widths.items()}
        params, macs = structure.cost(ratios)
        small = bool(params <= budget.params + 0.5 and macs <= budget.macs + 0.5)
        return small and (time is None or time.ms(ratios) <= time.most_ms)

    def scaled(factor: float) -> dict[str, int]:
        return {
            root: _rounded(factor * keep_ratio[root] * full[root], full[root], round_to, least[root])
            for root in full
        }

    if not fits(scaled(0)):
        least_ratios = {root: width / full[root] for root, width in scaled(0).items()}
        params, macs = structure.cost(least_ratios)
        if time is not None and time.ms(least_ratios) > time.most_ms:
            raise NetworkError(
                f"a member may take {time.most_ms:.3g} ms, but with the smallest widths it takes"
                f" {time.ms(least_ratios):.3g} by the latency table; raise prune.latency_ms or latency_share,"
                " lower prune.round_to, or set prune.branches"
            )
        share = smallest_share(structure, round_to=round_to, branches=branches)
        raise NetworkError(
            f"a member may have {budget.params:.0f} parameters and {budget.macs:.0f} MACs, but with the"
            f" smallest widths it has {params:.0f} and {macs:.0f}; {_remedy(structure, share)}"
        )
    low, high = 0.0, 1 / min(keep_ratio.values())
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(scaled(middle)) else (low, middle)
    widths = scaled(low)
    while True:
        neediest = sorted(full, key=lambda root: widths[root] / full[root] / keep_ratio[root])
        for root in filter(widths.get, neediest):  # a removed branch stays removed
            more = widths | {root: widths[root] + round_to}
            if more[root] <= full[root] and fits(more):
                widths = more
                break
        else:
            return widths


def _rounded(width: float, full: int, round_to: int, least: int) -> int:
    if width >= full or (full <= round_to and least):
        return full
    if full <= round_to:
        return full if width >= full / 2 else 0
    return max(least, min(round(width / round_to) * round_to, full // round_to * round_to))
