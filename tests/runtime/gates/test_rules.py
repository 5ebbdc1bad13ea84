import math
from struct import Struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eed_edge.errors import InferenceError, InputError
from eed_edge.gate_rules import geometric_rule
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.gates.single_image_exit import run_single_image
from eed_edge.runtime.gates.softmax import softmax_row

CASES = [
    ("confidence", {"threshold": 0.6}),
    ("confidence", {"threshold": 2.0}),
    ("agreement", {"votes": 1}),
    ("agreement", {"votes": 2}),
    ("agreement", {"votes": 3}),
    ("geometric", {"g": 1.0, "k": 1.0}),
    ("geometric", {"g": 3.0, "k": 0.2}),
    ("geometric", {"g": 0.0, "k": 0.0}),
]


def random_probs(seed, members=5, n=60, k=4, *, failing=0.0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, 0.4), (members, n)).astype(np.float32)
    probs[rng.random((members, n)) < failing] = np.nan
    probs[-1] = rng.dirichlet(np.ones(k), n)  # so that one is left
    return probs


def plain_answer(probs, rule, parameters):
    """One image, ``(members, k)``, every sub-model evaluated, by the book: label, used, prefix."""
    fine = [not np.isnan(row).any() for row in probs]
    usable = [
        [row.astype(float) for row, ok in zip(probs[:t], fine, strict=False) if ok] for t in range(1, 6)
    ]
    means = [np.mean(rows, axis=0) if rows else np.zeros(4) for rows in usable]
    if rule == "geometric":
        prefix = plain_geometric(means, fine, **parameters)
        return means[prefix - 1].argmax(), None, prefix
    for t in range(1, 5):
        label = means[t - 1].argmax()
        votes = sum(row.argmax() == label for row in usable[t - 1])
        sure = t > 1 and votes >= parameters["votes"] if rule == "agreement" else None
        if fine[t - 1] and (means[t - 1].max() >= parameters["threshold"] if sure is None else sure):
            return label, t, t
    return means[-1].argmax(), 5, 5


def plain_geometric(means, fine, g, k):
    q = []
    for t, mean in enumerate(np.maximum(means, 1e-12)):
        before = np.maximum(means[t - 1], 1e-12)
        divergence = np.sum(mean * np.log(mean / before)) if any(fine[:t]) else 0
        q.append(min(1, mean.max() ** g * math.exp(-k * divergence)) if fine[t] else 0)
    q[-1] = 1
    return int(np.argmax([q[t] * math.prod(1 - one for one in q[:t]) for t in range(len(q))])) + 1


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_replay_gives_what_the_definition_gives(rule, parameters, failing):
    probs = random_probs(1, failing=failing)
    answer = replay_rule(probs, rule, parameters)
    for i in range(probs.shape[1]):
        label, used, prefix = plain_answer(probs[:, i], rule, parameters)
        assert (answer.labels[i], answer.answer_prefix[i]) == (label, prefix)
        assert answer.submodels_used[i] == used or (
            rule == "geometric" and answer.submodels_used[i] >= prefix
        )


def equal_values(count):
    """Qualities whose values are all 1/count, but for rounding."""
    q, left = [], 1.0
    for _ in range(count):
        q.append(min(1.0, 1 / count / left))
        left *= 1 - q[-1]
    return q


QUALITIES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))


@settings(max_examples=400, deadline=None)
@given(st.lists(QUALITIES, min_size=1, max_size=12) | st.integers(2, 12).map(equal_values))
def test_lazy_geometric_picks_the_first_maximum_of_all(qualities):
    q = [*qualities[:-1], 1.0]
    values, left = [], 1.0
    for one in q:
        values.append(one * left)
        left *= 1 - one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometric_rule, "exit_probability", lambda stage, *_: np.array([q[stage.t - 1]]))
        answer = replay_rule(np.full((len(q), 1, 2), 0.5, np.float32), "geometric", {})
    assert answer.answer_prefix[0] == int(np.argmax(values)) + 1
    used = answer.submodels_used[0]
    assert all(max(values[:t]) < math.prod(1 - one for one in q[:t]) for t in range(1, used))  # no lazier way


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_one_image_in_plain_python_is_decided_as_in_numpy(rule, parameters, failing):
    probs = random_probs(2, n=400, failing=failing)
    answer = replay_rule(probs, rule, parameters)
    logits = np.log(probs.astype(np.float64))
    exact = [[softmax_row(row.tolist(), Struct("4d")) for row in member] for member in logits]
    rounded = np.array([[row or [np.nan] * 4 for row in member] for member in exact]).astype(np.float32)
    answer = replay_rule(rounded, rule, parameters)
    for i in range(400):
        result = run_single_image(
            lambda t, i=i: logits[t, i].tolist(),
            Struct("4f"),
            GATE_RULES[rule],
            parameters,
            max_submodels=5,
        )
        mean, used, prefix, failed = result
        assert (used, prefix) == (answer.submodels_used[i], answer.answer_prefix[i])
        assert np.array_equal(np.float32(mean), answer.probs[i])
        assert failed == [t for t in range(used) if np.isnan(probs[t, i]).any()]


BORDERS = [
    ("confidence", {"threshold": 0.5}, 1),
    ("agreement", {"votes": 2}, 2),
    ("geometric", {"g": 1.0, "k": 0.0}, 1),  # q = 1/2, what is left is 1/2 too
]


@pytest.mark.parametrize(("rule", "parameters", "used"), BORDERS)
def test_reaching_the_border_is_enough(rule, parameters, used):
    answer = replay_rule(np.full((3, 1, 2), 0.5, np.float32), rule, parameters)
    mean, *result, failed = run_single_image(
        lambda _: [0.0, 0.0],
        Struct("2f"),
        GATE_RULES[rule],
        parameters,
        max_submodels=3,
    )
    assert [answer.submodels_used[0], answer.answer_prefix[0]] == result == [used, used]
    assert (list(mean), failed) == ([0.5, 0.5], [])


def test_of_equal_values_the_first_wins_in_plain_python_too():
    memory = {"state": ([0.5] * 2, 0.25, 0.5, ("first", 1))}
    result = GATE_RULES["geometric"].decide_single(2, [0.5, 0.5], [1.0, 1.0], 2, memory, {"g": 1.0, "k": 1.0})
    assert result == ("first", 1)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_an_image_is_decided_alike_alone_and_in_any_company(rule, parameters):
    probs = random_probs(3, failing=0.2)
    complete = replay_rule(probs, rule, parameters)
    order = np.random.default_rng(0).permutation(probs.shape[1])
    shuffled = replay_rule(probs[:, order], rule, parameters)
    for name in ("probs", "labels", "submodels_used", "answer_prefix"):
        assert np.array_equal(getattr(complete, name)[order], getattr(shuffled, name))
        alone = [getattr(replay_rule(probs[:, [i]], rule, parameters), name)[0] for i in order]
        assert np.array_equal(getattr(shuffled, name), alone)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_a_cap_of_submodels_is_as_if_there_were_no_more(rule, parameters):
    probs = random_probs(4)
    capped, shorter = (
        replay_rule(probs, rule, parameters, max_submodels=3),
        replay_rule(probs[:3], rule, parameters, max_submodels=9),
    )
    assert np.array_equal(capped.probs, shorter.probs)
    assert np.array_equal(capped.submodels_used, shorter.submodels_used)


def test_a_threshold_above_one_runs_everything_and_answers_with_the_mean():
    probs = random_probs(5)
    answer = replay_rule(probs, "confidence", {"threshold": 2.0})
    assert set(answer.submodels_used) == {5}
    assert np.allclose(answer.probs, probs.mean(axis=0), atol=1e-7)


def test_no_images_have_no_answers():
    answer = replay_rule(np.zeros((3, 0, 4), np.float32), "confidence", {"threshold": 0.5})
    assert answer.labels.shape == (0,)
    assert answer.probs.shape == (0, 4)


def test_replay_leaves_its_input_alone():
    probs = random_probs(6, failing=0.3)
    before = probs.copy()
    replay_rule(probs, "geometric", {"g": 1.0, "k": 1.0}).probs[:] = 0
    assert np.array_equal(probs, before, equal_nan=True)


@pytest.mark.parametrize("rule", GATE_RULES)
def test_an_image_on_which_all_submodels_fail_is_an_error(rule):
    probs = random_probs(7)
    probs[:, 3] = np.nan
    with pytest.raises(InferenceError, match="all 5 sub-models failed for 1 of 60"):
        replay_rule(probs, rule, {"threshold": 2.0, "votes": 5, "g": 1.0, "k": 1.0})


def test_a_rule_nobody_knows_and_other_arrays_are_refused():
    with pytest.raises(
        InputError, match=r"expected a rule out of confidence, agreement, geometric.*, got 'vote'"
    ):
        replay_rule(random_probs(0), "vote", {})
    for bad in (np.zeros((3, 2), np.float32), np.zeros((3, 2, 4)), np.zeros((0, 2, 4), np.float32)):
        with pytest.raises(InputError, match=r"expected probs \(members, n, k\) float32, got"):
            replay_rule(bad, "confidence", {"threshold": 0.5})


@pytest.mark.parametrize(("rule", "parameters"), [CASES[0], *CASES[3:]])
def test_only_near_ties_change_when_probabilities_tremble(rule, parameters):
    probs = random_probs(8, n=4000)
    probs[0, :50] = [0.6000004, 0.3999996, 0, 0]
    probs[0, 50:100] = [0.5, 0.5, 0, 0]
    near = near_ties(probs, rule, parameters, tolerance=1e-4)
    trembling = 1 + np.random.default_rng(0).uniform(-2e-6, 2e-6, probs.shape).astype(np.float32)
    steady, shaken = (replay_rule(p, rule, parameters) for p in (probs, probs * trembling))
    changed = (steady.labels != shaken.labels) | (steady.submodels_used != shaken.submodels_used)
    assert not (changed & ~near).any()
    assert near.mean() < 0.1


def test_a_value_at_the_threshold_is_a_near_tie_and_one_further_off_is_not():
    probs = np.array([[[0.600004, 0.399996], [0.61, 0.39]], [[0.9, 0.1], [0.9, 0.1]]], np.float32)
    assert near_ties(probs, "confidence", {"threshold": 0.6}).tolist() == [True, False]
    assert near_ties(probs, "confidence", {"threshold": 0.6}, max_submodels=1).tolist() == [False, False]
