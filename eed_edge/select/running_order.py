"""Running order of a team: which sub-model comes first, second, …"""

from collections.abc import Callable
from itertools import permutations

import numpy as np

from eed_edge.arrays import Floats, Ints
from eed_edge.select.team_accuracy import team_accuracies

MOST_ORDERED = 4
"""Up to this team size all running orders are compared."""
Judge = Callable[[tuple[int, ...]], float]
"""Attacked accuracy of the mean of these candidates, in ascending order, under attacks against that mean."""


def running_order(probs: Floats, labels: Ints) -> list[int]:
    """Greedy running order: each prefix has the most accurate mean; ties go to the better single member.

    Args:
        probs: ``(members, n, k)`` of one team.
        labels: ``(n,)``.

    Returns:
        Members in the order in which they should run.
    """
    single = np.eye(len(probs), dtype=bool)
    alone = team_accuracies(probs, labels, single)
    remaining = sorted(range(len(probs)), key=lambda member: -alone[member])
    prefix: list[int] = []
    while remaining:
        tries = single[remaining] | single[prefix].any(axis=0)
        prefix.append(remaining.pop(int(team_accuracies(probs, labels, tries).argmax())))
    return prefix


def judged_order(members: tuple[int, ...], judge: Judge) -> tuple[int, ...]:
    """The running order whose prefixes have the highest mean attacked accuracy; of equals the first.

    All orders of up to ``MOST_ORDERED`` members are compared. A larger team grows member by member,
    each time by the one that gives the most accurate prefix.
    """

    def accuracy(prefix: tuple[int, ...]) -> float:
        return judge(tuple(sorted(prefix)))

    if len(members) <= MOST_ORDERED:
        orders = permutations(sorted(members))
        return max(orders, key=lambda order: sum(accuracy(order[:t]) for t in range(1, len(order))))
    order: tuple[int, ...] = ()
    while rest := [member for member in members if member not in order]:
        order = max(((*order, member) for member in rest), key=accuracy)
    return order
