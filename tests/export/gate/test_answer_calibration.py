"""Temperatures and the abstain threshold against answers whose worth is known."""

import numpy as np
import pytest

from eed_edge.evaluate.metrics.shift import expected_calibration_error
from eed_edge.export.gate.answer_calibration import HIGHEST, LOWEST, fit_abstain, fit_temperatures
from eed_edge.export.gate.calibration import MemberProbs
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from eed_edge.manifest import GateParameters, GateSpec
from eed_edge.runtime.gates.replay import replay_rule

CLASSES = 6


def gate(threshold, rule="confidence", cap=None):
    return GateSpec(
        rule, GateParameters(Confidence(threshold), Agreement(2), Geometric(1.0, 1.0)), max_submodels=cap
    )


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def known(images, temperature, seed, members=2):
    """Members that say the same, with logits ``temperature`` times those that the labels are drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (images, CLASSES))
    labels = (softmax(logits).cumsum(1) > rng.random((images, 1))).argmax(1)
    probs = softmax(logits * temperature).astype(np.float32)
    clean = np.stack([probs] * members)
    return MemberProbs(clean, (clean,) * members, labels)


@pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found_at_each_stop(temperature):
    answers = known(4000, temperature, seed=1)
    middle = float(np.median(answers.clean[0].max(1)))
    assert fit_temperatures(answers, gate(middle)) == pytest.approx([temperature] * 2, rel=0.12)


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_fitted_on_some_images_the_probability_is_the_share_of_right_answers_on_others(rule):
    gate_spec = gate(0.3, rule)
    temperatures = fit_temperatures(known(1000, 0.25, seed=2), gate_spec)
    other_images = known(5000, 0.25, seed=3)
    errors = []
    for each in (None, temperatures):
        answer = replay_rule(other_images.clean, rule, gate_spec.parameters_of(rule), temperatures=each)
        confidence = np.minimum(answer.probs.max(1), 1)
        errors.append(expected_calibration_error(confidence, answer.labels == other_images.labels))
    assert errors[0] > 0.2
    assert errors[1] < 0.03


def test_a_stop_with_few_images_leans_on_all_of_them_and_one_that_never_errs_stays_in_range():
    answers = known(1000, 0.25, seed=4)
    (first, last) = fit_temperatures(answers, gate(float(np.sort(answers.clean[0].max(1))[1])))  # one goes on
    assert last == pytest.approx(first, rel=0.6)
    sure = MemberProbs(answers.clean, answers.attacked, answers.clean[0].argmax(1))
    assert all(LOWEST <= each <= HIGHEST for each in fit_temperatures(sure, gate(0.3)))


@pytest.mark.parametrize("images", [30, 300])
def test_a_stop_that_never_errs_is_as_sure_as_if_one_more_image_had_any_label(images):
    members = np.full((2, images, CLASSES), 0.1, np.float32)
    members[..., 0] = 0.5
    answers = MemberProbs(members, (members,), np.zeros(images, np.int64))
    (first, _) = fit_temperatures(answers, gate(0.3))  # all stop there; with 20 more in weight
    answer = softmax(np.log(members[0, :1]) / first).max()
    assert answer == pytest.approx((images + 20 + 1 / CLASSES) / (images + 21), abs=1e-4)
    assert 0.9 < fit_abstain(answers, gate(0.3), (first, first), share=0.95).threshold < answer


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 1.0])
def test_the_threshold_is_the_largest_that_leaves_the_share_clean_and_under_every_attack(share):
    rng = np.random.default_rng(6)
    parts = [known(400, scale, seed=7).clean for scale in (1.0, 0.6, 0.3)]
    answers = MemberProbs(parts[0], tuple(parts[1:]), rng.integers(0, CLASSES, 400))
    temperatures = (0.5, 0.8)
    abstain = fit_abstain(answers, gate(0.6), temperatures, share=share)

    def left(threshold):
        shares = []
        for version in parts:
            answer = replay_rule(version, "confidence", {"threshold": 0.6}, temperatures=temperatures)
            tops = [
                p.max()
                for p, one, y in zip(answer.probs, answer.labels, answers.labels, strict=True)
                if one == y
            ]
            shares.append(np.mean([top >= threshold for top in tops]))
        return shares

    shares = left(abstain.threshold)
    assert (abstain.clean, abstain.attacked) == pytest.approx((shares[0], min(shares[1:])))
    assert min(shares) >= share
    if share < 1:
        assert min(left(abstain.threshold + 2e-5)) < share
    assert abstain.share == share


def test_a_share_of_nothing_leaves_the_surest_answer():
    answers = known(400, 1.0, seed=7)
    abstain = fit_abstain(answers, gate(0.6), (0.5, 0.8), share=0.0)
    assert 0 < abstain.clean < 0.1


def test_a_team_that_is_never_right_abstains_from_nothing():
    answers = known(50, 1.0, seed=8)
    wrong = (answers.clean[0].argmax(1) + 1) % CLASSES
    abstain = fit_abstain(
        MemberProbs(answers.clean, answers.attacked, wrong), gate(0.5), (1.0, 1.0), share=0.9
    )
    assert abstain.threshold == 0
