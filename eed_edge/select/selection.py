"""Choose the team of sub-models and the order in which they run.

``paper`` takes the smallest team whose robust diversity reaches ``rd``, of those the most diverse;
when none reaches it, the most diverse of the largest teams that the budget allows. ``robust`` takes
the team whose mean has the highest attacked accuracy, of those the most diverse; given a judge, it
compares the best ten teams by attacks against each of them. Remaining ties go to the higher attacked
accuracy, the smaller team and then the lower numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.errors import InputError, RecipeError, TrainingError
from eed_edge.select.diversity import all_teams, team_diversities
from eed_edge.select.running_order import Judge, judged_order, running_order
from eed_edge.select.team_accuracy import team_accuracies

MOST_CONSIDERED = 16
"""The most candidates compared: teams double with each one, 16 give 65,519."""
JUDGED_TEAMS = 10
"""Teams that ``robust`` compares by attacks of their own."""


class TeamBudget(NamedTuple):
    """The most parameters and multiply-accumulates for one image that a team may have."""

    params: float
    macs: float


@dataclass(frozen=True)
class Criteria:
    """How the team is chosen.

    rule: ``paper`` or ``robust``.
    rd: robust diversity that ``paper`` requires.
    member_gap: a candidate further than this below the best one's attacked accuracy is not
        considered; of the rest, at most the best ``MOST_CONSIDERED`` are.
    judge: compares the best teams and their running orders; None leaves both to the given probabilities.
    attacked: the probabilities and the judge are of attacked images; without attacks, of clean ones.
    members: size of the team; 0 compares all sizes from two on.
    """

    rule: str
    rd: float = 0.7
    member_gap: float = 0.05
    judge: Judge | None = None
    attacked: bool = True
    members: int = 0

    @property
    def accuracy_name(self) -> str:
        """What the candidates are compared by, for messages."""
        return "attacked accuracy" if self.attacked else "clean accuracy"


@dataclass(frozen=True)
class Selection:
    """A team, its diversity and accuracy, and the reason for choosing it.

    members: candidates in running order.
    rd: the team's robust diversity.
    accuracy: accuracy of the team's mean on these images.
    reason: one sentence for the log and the report.
    considered: candidates within ``member_gap`` of the best one.
    """

    members: tuple[int, ...]
    rd: float
    accuracy: float
    reason: str
    considered: tuple[int, ...]


@dataclass(frozen=True)
class _TeamTable:
    """Teams within the budget and their diversities, small teams and low numbers first."""

    numbers: NDArray[np.intp]  # (members,) of the candidates
    teams: Bools  # (t, members)
    diversity: NDArray[np.float64]  # (t,)
    probs: Floats  # (members, n, k)
    labels: Ints  # (n,)

    def accuracy(self, among: NDArray[np.intp]) -> NDArray[np.float64]:
        return team_accuracies(self.probs, self.labels, self.teams[among])

    def members(self, team: int) -> tuple[int, ...]:
        return tuple(int(number) for number in self.numbers[self.teams[team]])


def select_team(
    failed: Bools,
    *,
    probs: Floats,
    labels: Ints,
    params: Ints,
    macs: Ints,
    budget: TeamBudget,
    criteria: Criteria,
) -> Selection:
    """Choose the best team within the budget, in running order.

    Args:
        failed: ``(m, n)`` bool; candidate i misclassifies attacked tune image j.
        probs: ``(m, n, k)`` float32 of the candidates on the same images.
        labels: ``(n,)`` true classes.
        params, macs: ``(m,)`` parameters of each candidate, and its multiply-adds for one image.
        budget: upper limits of the sums over a team.

    Raises:
        InputError: shapes that do not fit one another, or numbers that are not finite.
        RecipeError: an unknown rule.
        TrainingError: too few candidates are good enough, or no team of them fits into the budget.

    Source:
        EED, sec. 4.2; ``robust``, the gap and the order are this project's.
    """
    _check(failed, probs, labels, params, macs)
    if criteria.rule not in RULES:
        raise RecipeError(f"select.rule: expected one of {', '.join(RULES)}, got {criteria.rule!r}")
    considered = _eligible(failed, criteria)
    teams = _affordable(params[considered], macs[considered], budget, members=criteria.members)
    diversity = np.zeros(len(teams)) if criteria.members == 1 else team_diversities(failed[considered], teams)
    table = _TeamTable(considered, teams, diversity, probs[considered], labels)
    best, reason = RULES[criteria.rule](table, criteria)
    members = table.members(best)
    if criteria.judge:
        members = judged_order(members, criteria.judge)
    else:
        order = running_order(probs[list(members)], labels)
        members = tuple(members[place] for place in order)
    return Selection(
        members=members,
        rd=float(table.diversity[best]),
        accuracy=float(table.accuracy(np.array([best]))[0]),
        reason=f"{reason} ({len(teams)} teams of {len(considered)} out of {len(failed)} candidates compared)",
        considered=tuple(int(i) for i in considered),
    )


def _eligible(failed: Bools, criteria: Criteria) -> NDArray[np.intp]:
    """Candidates within the gap of the best one, in ascending order."""
    failures, member_gap = failed.sum(axis=1), criteria.member_gap
    worst = failures.min() + member_gap * failed.shape[1] + 1e-9  # the float product may fall short
    order = np.argsort(failures, kind="stable")
    good = order[failures[order] <= worst][:MOST_CONSIDERED]
    fewest = criteria.members or 2
    if len(good) < min(fewest, MOST_CONSIDERED):
        gap = math.ceil(1000 * (np.sort(failures)[:fewest].max() - failures.min()) / failed.shape[1]) / 1000
        raise TrainingError(
            f"expected {fewest} or more candidates within {member_gap:g} of the best one's"
            f" {criteria.accuracy_name} {1 - failures.min() / failed.shape[1]:.3f}, got {len(good)} of"
            f" {len(failed)}; raise select.member_gap to {gap:g}, or pool.epochs"
        )
    return np.sort(good)


def _affordable(params: Ints, macs: Ints, budget: TeamBudget, *, members: int) -> Bools:
    """The teams of this size, or of all from two on, within the budget."""
    every = np.eye(len(params), dtype=np.bool_) if members == 1 else all_teams(len(params))
    every = every[every.sum(axis=1) == members] if members else every
    teams = every[(every @ params <= budget.params) & (every @ macs <= budget.macs)]
    if not len(teams):
        over = np.maximum((every @ params) / budget.params, (every @ macs) / budget.macs).min()
        missing, size = math.ceil(100 * over) / 100, members or 2
        raise TrainingError(
            f"expected {size} candidates of at most {budget.params:,.0f} parameters and"
            f" {budget.macs:,.0f} MACs together, got {size} smallest of {_smallest(params, size)}"
            f" and {_smallest(macs, size)};"
            f" lower prune.sparsity until 1 - prune.sparsity is {missing:.2f} times as large, or"
            f" prune.member_share to 1/{missing:.2f}"
        )
    return teams


def _paper(table: _TeamTable, criteria: Criteria) -> tuple[int, str]:
    rd = criteria.rd
    size = table.teams.sum(axis=1)
    reached = np.flatnonzero(table.diversity >= rd)
    if len(reached):
        smallest = size[reached].min()
        best = _best(table, reached[size[reached] == smallest])
        return best, f"paper: the smallest team within the budget with RD >= {rd:g} has {smallest} members"
    largest = size.max()
    best = _best(table, np.flatnonzero(size == largest))
    return best, (
        f"paper: no team within the budget reaches RD {rd:g} (highest {table.diversity.max():.3f}),"
        f" so the most diverse of the largest size, {largest}, was taken"
    )


def _robust(table: _TeamTable, criteria: Criteria) -> tuple[int, str]:
    every = np.arange(len(table.teams))
    accuracy = table.accuracy(every)
    if criteria.judge:
        best_first = np.lexsort((-table.diversity, -accuracy))
        return _judged(table, best_first[:JUDGED_TEAMS], criteria.judge, attacked=criteria.attacked)
    best = _best(table, every[accuracy == accuracy.max()])
    return best, (
        f"robust: the mean of these {table.teams[best].sum()} has the highest {criteria.accuracy_name}"
        f" of all teams within the budget, {accuracy.max():.3f}"
    )


def _judged(
    table: _TeamTable, shortlist: NDArray[np.intp], judge: Judge, *, attacked: bool
) -> tuple[int, str]:
    """The team of the shortlist with the best first member and mean, and the reason."""

    def accuracies(team: int) -> tuple[float, float]:
        members = table.members(team)
        return max(judge((member,)) for member in members), judge(members)

    scores = {int(team): accuracies(int(team)) for team in shortlist}
    best = max(scores, key=lambda team: sum(scores[team]))
    first, mean = scores[best]
    how = "under attacks of their own" if attacked else "on clean images"
    return best, (
        f"robust: these {table.teams[best].sum()} have the best first member and mean {how},"
        f" {first:.3f} and {mean:.3f}, compared with at most {JUDGED_TEAMS} teams of accurate means"
    )


RULES: dict[str, Callable[[_TeamTable, Criteria], tuple[int, str]]] = {"paper": _paper, "robust": _robust}


def _best(table: _TeamTable, among: NDArray[np.intp]) -> int:
    """The most diverse of these teams, then the most accurate, then the first."""
    diversity = table.diversity[among]
    among = among[diversity == diversity.max()]
    return int(among[table.accuracy(among).argmax()])


def _smallest(costs: Ints, size: int) -> str:
    return f"{np.sort(costs)[:size].sum():,}"


def _check(failed: Bools, probs: Floats, labels: Ints, params: Ints, macs: Ints) -> None:
    members, n = failed.shape if failed.ndim == 2 else (0, 0)
    expected = {"labels": (n,), "params": (members,), "macs": (members,)}
    for name, array in (("labels", labels), ("params", params), ("macs", macs)):
        if array.shape != expected[name]:
            raise InputError(
                f"{name}: expected shape {expected[name]}, got {array.shape}; match failed {failed.shape}"
            )
    if probs.ndim != 3 or probs.shape[:2] != (members, n) or not np.isfinite(probs).all():
        raise InputError(
            f"probs: expected finite numbers of shape ({members}, {n}, k), got shape {probs.shape};"
            " evaluate every candidate on the same images"
        )
