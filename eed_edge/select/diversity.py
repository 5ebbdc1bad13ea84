"""Robust diversity: how rarely the members of a team fail on the same attacked image."""

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools
from eed_edge.errors import InputError


def robust_diversity(failed: Bools) -> float:
    """How rarely members of one team fail on the same attacked image.

    Args:
        failed: ``(members, n)`` bool; member i misclassifies attacked image j.

    Returns:
        RD in [0, 1]; 1 when no two fail together, and when none fails at all.

    Raises:
        InputError: fewer than two members, or no image.

    Example:
        >>> failed = np.array([[True, True, False, False], [True, False, True, False]])
        >>> robust_diversity(failed)  # each fails on two of four images, both on one
        0.5

    Source:
        EED, eq. 12-13, read as Partridge and Krzanowski's generalised diversity.
    """
    _check(failed, members=2)
    count = failed.sum(axis=0, dtype=np.int64)  # (n,) members that fail on each image
    failures, pairs = count.sum(), (count * (count - 1)).sum()
    return float(_diversity(failures, pairs, len(failed)))


def team_diversities(failed: Bools, teams: Bools) -> NDArray[np.float64]:
    """Robust diversity of many teams, from the joint failures of every two members.

    Args:
        failed: ``(members, n)`` bool; member i misclassifies attacked image j.
        teams: ``(t, members)`` bool; who is in each team, two at least.

    Returns:
        ``(t,)``, exactly what ``robust_diversity`` gives for each team's rows of ``failed``.

    Raises:
        InputError: shapes that do not fit, a team of fewer than two, or no image.
    """
    _check(failed, members=1)
    if teams.ndim != 2 or teams.shape[1] != len(failed):
        raise InputError(
            f"teams: expected shape (t, {len(failed)}), got {teams.shape}; give a column per member"
        )
    size = teams.sum(axis=1)  # (t,)
    if (size < 2).any():
        raise InputError(
            f"teams: expected two or more members in each, got {size.min()}; leave smaller teams out"
        )
    together = failed.astype(np.float64)
    together = together @ together.T  # (members, members), whole numbers, so exact
    failures = together.diagonal().copy()
    np.fill_diagonal(together, 0)
    weights = teams.astype(np.float64)
    return _diversity(weights @ failures, ((weights @ together) * weights).sum(axis=1), size)


def all_teams(members: int) -> Bools:
    """Every team of two or more: ``(2^members - members - 1, members)`` bool, small teams first."""
    bits = np.arange(2**members, dtype=np.int64)[:, None] >> np.arange(members)  # (2^members, members)
    teams = (bits & 1).astype(bool)
    size = teams.sum(axis=1)
    order = np.lexsort([*(~teams).T[::-1], size])
    return teams[order[members + 1 :]]


def diversity_by_size(failed: Bools) -> list[dict[str, float]]:
    """Spread of robust diversity over all teams of each size, from two members to all.

    Args:
        failed: ``(members, n)`` bool; member i misclassifies attacked image j.

    Returns:
        Rows ``{size, teams, min, mean, max}``.

    Source:
        EED, fig. 4.
    """
    teams = all_teams(len(failed))
    diversities, sizes = team_diversities(failed, teams), teams.sum(axis=1)
    rows = []
    for size in range(2, len(failed) + 1):
        values = diversities[sizes == size]
        rows.append(
            {
                "size": size,
                "teams": len(values),
                "min": float(values.min()),
                "mean": float(values.mean()),
                "max": float(values.max()),
            }
        )
    return rows


def _diversity(failures: np.ndarray, pairs: np.ndarray, size: np.ndarray | int) -> NDArray[np.float64]:
    """``1 - p_two / p_one`` from the number of failures and of ordered pairs that fail together."""
    p_two_over_p_one = np.divide(pairs, np.maximum(failures, 1) * (np.asarray(size) - 1), dtype=np.float64)
    return np.asarray(1.0 - p_two_over_p_one, dtype=np.float64)


def _check(failed: Bools, members: int) -> None:
    if failed.ndim != 2 or failed.dtype != np.bool_ or len(failed) < members or failed.shape[1] < 1:
        raise InputError(
            f"failed: expected bool ({members} or more members, 1 or more images),"
            f" got {failed.dtype} {failed.shape}; evaluate each member on the same attacked images"
        )
