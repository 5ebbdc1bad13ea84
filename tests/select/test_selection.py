import re
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eed_edge.errors import InputError, RecipeError, TrainingError
from eed_edge.select import all_teams, robust_diversity, team_accuracies, team_accuracy
from eed_edge.select.selection import MOST_CONSIDERED, Criteria, TeamBudget, select_team

SEEDS = st.integers(0, 2**32 - 1)


def pool(seed, members=6, n=40, classes=3):
    """Candidates of different skill; probabilities in quarters, so that sums are exact and ties happen."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    probs = rng.integers(0, 5, (members, n, classes)).astype(np.float32) / 4
    probs[:, np.arange(n), labels] += rng.integers(0, 2, (members, n))
    failed = probs.argmax(2) != labels
    costs = {"params": rng.integers(50, 150, members), "macs": 10 * rng.integers(50, 150, members)}
    return failed, {"probs": probs, "labels": labels, **costs}


def accuracy(team, probs, labels):
    return np.mean([sum(probs[i][j] for i in team).argmax() == labels[j] for j in range(len(labels))])


def plain_teams(failed, case, budget, gap):
    """Every affordable team of good enough members, small teams and low numbers first."""
    share = 1 - failed.mean(1)
    good = [i for i in range(len(failed)) if share[i] >= share.max() - gap - 1e-9]
    teams = [team for size in range(2, len(good) + 1) for team in combinations(good, size)]
    budgets = {"params": budget, "macs": 10 * budget}
    return [t for t in teams if all(sum(case[cost][i] for i in t) <= most for cost, most in budgets.items())]


def plain_choice(failed, case, teams, rule, rd):
    def diversity(team):
        return robust_diversity(failed[list(team)])

    def score(team):
        return accuracy(team, case["probs"], case["labels"])

    if rule == "robust":
        return max(teams, key=lambda team: (score(team), diversity(team)))
    reached = [team for team in teams if diversity(team) >= rd]
    size = min(map(len, reached)) if reached else max(map(len, teams))
    same = [team for team in reached or teams if len(team) == size]
    return max(same, key=lambda team: (diversity(team), score(team)))


def choose(failed, case, budget=1e9, **settings):
    limit = TeamBudget(budget, 10 * budget)
    return select_team(failed, **case, budget=limit, criteria=Criteria(**settings))


@pytest.mark.parametrize("rule", ["paper", "robust"])
@given(seed=SEEDS, budget=st.integers(300, 700), rd=st.sampled_from([0.3, 0.6, 0.9]))
def test_the_chosen_team_is_the_one_a_plain_search_finds(rule, seed, budget, rd):
    failed, case = pool(seed)
    expected = plain_choice(failed, case, plain_teams(failed, case, budget, gap=1.0), rule, rd)
    team = choose(failed, case, budget, rule=rule, rd=rd, member_gap=1.0)
    assert tuple(sorted(team.members)) == expected
    assert team.rd == robust_diversity(failed[list(expected)])
    assert team.accuracy == pytest.approx(accuracy(expected, case["probs"], case["labels"]))


@given(seed=SEEDS)
def test_each_prefix_of_the_running_order_is_the_best_one_more_member_can_give(seed):
    failed, case = pool(seed)
    members = choose(failed, case, rule="robust", member_gap=1.0).members
    for t in range(len(members)):
        scores = [accuracy((*members[:t], i), case["probs"], case["labels"]) for i in members[t:]]
        assert scores[0] == max(scores)


@given(seed=SEEDS, gap=st.sampled_from([0.0, 0.05, 0.1, 0.2]))
def test_members_below_the_gap_are_not_considered(seed, gap):
    failed, case = pool(seed, n=20)
    right = (~failed).sum(1)
    expected = tuple(i for i in range(6) if right.max() - right[i] <= round(gap * 20))
    if len(expected) >= 2:
        team = choose(failed, case, rule="paper", member_gap=gap)
        assert team.considered == expected
        assert set(team.members) <= set(expected)


@given(seed=SEEDS, order=st.sampled_from(list(permutations(range(4)))))
def test_the_numbering_of_the_candidates_does_not_change_how_good_the_team_is(seed, order):
    failed, case = pool(seed, members=4)
    shuffled = {name: array if name == "labels" else array[list(order)] for name, array in case.items()}
    first = choose(failed, case, rule="robust", member_gap=1.0)
    second = choose(failed[list(order)], shuffled, rule="robust", member_gap=1.0)
    assert (first.rd, first.accuracy) == (second.rd, second.accuracy)


def test_team_accuracies_do_not_depend_on_the_chunk_size(monkeypatch):
    _, case = pool(0)
    teams = all_teams(6)
    at_once = team_accuracies(case["probs"], case["labels"], teams)
    monkeypatch.setattr(team_accuracy, "CHUNK", 1)
    assert team_accuracies(case["probs"], case["labels"], teams).tolist() == at_once.tolist()


def test_of_a_large_pool_the_most_accurate_candidates_are_considered():
    failed, case = pool(1, members=20, n=200)
    team = choose(failed, case, budget=400, rule="robust", member_gap=1.0)
    rest = np.setdiff1d(np.arange(20), team.considered)
    assert len(team.considered) == MOST_CONSIDERED
    assert failed[rest].sum(1).min() >= failed[list(team.considered)].sum(1).max()


@pytest.mark.parametrize(
    ("rule", "rd", "reason"),
    [
        ("paper", 0.0, r"paper: the smallest team within the budget with RD >= 0 has 2 members"),
        (
            "paper",
            1.0,
            r"paper: no team within the budget reaches RD 1 \(highest 0\.\d+\), so the most diverse",
        ),
        ("robust", 0.7, r"robust: the mean of these \d has the highest attacked accuracy"),
    ],
)
def test_the_reason_says_which_case_it_was(rule, rd, reason):
    failed, case = pool(3)
    assert re.match(reason, choose(failed, case, rule=rule, rd=rd, member_gap=1.0).reason)


def judge_of(seed):
    """Attacked accuracies of teams that have nothing to do with the given probabilities."""
    return lambda numbers: float(np.random.default_rng((seed, *numbers)).integers(0, 50) / 50)


@given(seed=SEEDS)
def test_a_judge_decides_between_the_ten_best_teams_and_between_all_their_orders(seed):
    failed, case = pool(seed)
    judge = judge_of(seed)
    ranked = sorted(
        plain_teams(failed, case, 700, gap=1.0),
        key=lambda team: (
            accuracy(team, case["probs"], case["labels"]),
            robust_diversity(failed[list(team)]),
        ),
        reverse=True,
    )[:10]
    selection = choose(failed, case, 700, rule="robust", member_gap=1.0, judge=judge).members

    def score(team):
        return judge(team) + max(judge((member,)) for member in team)

    def order_score(order):
        return sum(judge(tuple(sorted(order[:t]))) for t in range(1, len(order)))

    assert score(tuple(sorted(selection))) == max(map(score, ranked))
    if len(selection) <= 4:
        assert order_score(selection) == max(map(order_score, permutations(selection)))
    else:
        for t in range(len(selection)):
            nexts = [judge(tuple(sorted((*selection[:t], member)))) for member in selection[t:]]
            assert nexts[0] == max(nexts)


@pytest.mark.parametrize("members", [1, 2, 3, 6])
def test_a_team_of_a_given_size_is_the_best_of_that_size(members):
    failed, case = pool(5)
    selection = choose(failed, case, rule="robust", member_gap=1.0, members=members)
    same_size = list(combinations(range(6), members))
    best = max(accuracy(team, case["probs"], case["labels"]) for team in same_size)
    assert len(selection.members) == members
    assert selection.accuracy == best
    assert f"({len(same_size)} teams of 6 out of 6" in selection.reason


def changed(case, **values):
    return {**case, **values}


@pytest.mark.parametrize(
    ("change", "settings", "error", "message"),
    [
        ({}, {"rule": "best"}, RecipeError, r"select\.rule: expected one of paper, robust, got 'best'"),
        (
            {},
            {"budget": 10},
            TrainingError,
            r"expected 2 candidates of at most 10 parameters .* lower prune\.sparsity",
        ),
        ({}, {"member_gap": -1.0}, TrainingError, r"got 0 of 6; raise select\.member_gap"),
        ({"labels": np.zeros(3, int)}, {}, InputError, r"labels: expected shape \(40,\), got \(3,\)"),
        ({"macs": np.zeros(3, int)}, {}, InputError, r"macs: expected shape \(6,\), got \(3,\)"),
        ({"probs": np.full((6, 40, 3), np.nan)}, {}, InputError, r"probs: expected finite numbers"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_in_one_line(change, settings, error, message):
    failed, case = pool(0)
    with pytest.raises(error, match=message):
        choose(failed, changed(case, **change), **{"rule": "robust", "member_gap": 1.0, **settings})


def test_what_an_error_asks_for_is_enough():
    failed, case = pool(3)
    with pytest.raises(TrainingError, match=r"raise select\.member_gap to ([\d.]+), or") as refused:
        choose(failed, case, rule="robust", member_gap=-0.5)
    gap = float(re.search(r"member_gap to ([\d.]+)", str(refused.value))[1])
    assert len(choose(failed, case, rule="robust", member_gap=gap).members) >= 2
    with pytest.raises(TrainingError, match=r"times as large, or prune\.member_share to 1/") as refused:
        choose(failed, case, rule="robust", budget=10, member_gap=1.0)
    factor = float(re.search(r"is ([\d.]+) times", str(refused.value))[1])
    assert len(choose(failed, case, rule="robust", budget=10 * factor, member_gap=1.0).members) == 2
