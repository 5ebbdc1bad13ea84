"""Widths: channels to keep per group so that the network meets its budget."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from eed_edge.errors import NetworkError
from eed_edge.prune.groups import Structure, count_cost
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


def choose_widths(
    structure: Structure,
    kept: Mapping[str, float],
    budget: Budget,
    *,
    round_to: int,
    branches: bool = False,
) -> dict[str, int]:
    """Channels to keep per group: multiples of ``round_to`` near ``kept``, as many as the budget allows.

    All shares are scaled by one factor, the largest that fits; what is then left of the budget
    goes, ``round_to`` channels at a time, to the groups that rounding has wronged most.

    Args:
        kept: group root to a share in (0, 1].
        branches: whether a removable branch may go as a whole, by rounding down to no channels.

    Returns:
        Group root to width. A group of fewer than ``round_to`` channels is kept whole.

    Raises:
        NetworkError: even the smallest widths do not fit the budget.
    """
    whole = {group.root: group.channels for group in structure.groups}
    least = {group.root: 0 if branches and group.branch else round_to for group in structure.groups}
    for group in structure.groups:
        if group.channels % round_to:
            log.info("%s: %d channels are no multiple of %d", group.root, group.channels, round_to)

    def fits(chosen: Mapping[str, int]) -> bool:
        params, macs = structure.cost({root: width / whole[root] for root, width in chosen.items()})
        return bool(params <= budget.params + 0.5 and macs <= budget.macs + 0.5)

    def scaled(factor: float) -> dict[str, int]:
        return {
            root: _rounded(factor * kept[root] * whole[root], whole[root], round_to, least[root])
            for root in whole
        }

    if not fits(scaled(0)):
        params, macs = structure.cost({root: width / whole[root] for root, width in scaled(0).items()})
        raise NetworkError(
            f"a member may have {budget.params:.0f} parameters and {budget.macs:.0f} MACs, but with the"
            f" smallest widths it has {params:.0f} and {macs:.0f}; raise prune.member_share,"
            " lower prune.round_to or widen the base"
        )
    low, high = 0.0, 1 / min(kept.values())
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(scaled(middle)) else (low, middle)
    chosen = scaled(low)
    while True:
        wishes = sorted(whole, key=lambda root: chosen[root] / whole[root] / kept[root])
        for root in filter(chosen.get, wishes):  # a branch that has gone stays away
            more = chosen | {root: chosen[root] + round_to}
            if more[root] <= whole[root] and fits(more):
                chosen = more
                break
        else:
            return chosen


def _rounded(width: float, whole: int, round_to: int, least: int) -> int:
    if width >= whole or (whole <= round_to and least):
        return whole
    if whole <= round_to:
        return whole if width >= whole / 2 else 0
    return max(least, min(round(width / round_to) * round_to, whole // round_to * round_to))
