"""Temperatures against a softmax of divided logarithms, and what they leave as it was."""

import numpy as np
import pytest

from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.gates.temperature import below, with_temperature, with_temperature_row
from tests.runtime.gates.test_rules import CASES, random_probs

TEMPERATURES = (0.5, 1.0, 2.0, 0.25, 5.0)


def divided(mean, temperature):
    logits = np.log(mean.astype(np.float64)) / temperature
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_a_temperature_divides_logits_and_belongs_to_the_prefix_that_answers():
    means = np.random.default_rng(0).dirichlet(np.ones(4), 40)
    prefix = np.random.default_rng(1).integers(1, 6, 40)
    scaled = with_temperature(means, prefix, TEMPERATURES)
    for mean, t, row in zip(means, prefix, scaled, strict=True):
        np.testing.assert_allclose(row, divided(mean, TEMPERATURES[t - 1]), atol=1e-12)
        np.testing.assert_allclose(with_temperature_row(mean.tolist(), TEMPERATURES[t - 1]), row, atol=1e-15)


def test_zeros_stay_zeros_and_nothing_overflows():
    means = np.array([[1.0, 0.0, 0.0], [1e-300, 0.5, 0.5]])
    with np.errstate(all="raise", under="ignore"):
        for temperature in (0.01, 1.0, 100.0):
            scaled = with_temperature(means, np.array([1, 1]), [temperature])
            assert scaled[0].tolist() == [1.0, 0.0, 0.0]
            assert scaled.sum(1) == pytest.approx(1)
            assert np.isfinite(with_temperature_row(means[1].tolist(), temperature)).all()


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_labels_and_stops_stay_and_only_the_probabilities_change(rule, parameters):
    probs = random_probs(1, failing=0.3)
    plain = replay_rule(probs, rule, parameters)
    warm = replay_rule(probs, rule, parameters, temperatures=TEMPERATURES)
    for name in ("labels", "submodels_used", "answer_prefix"):
        np.testing.assert_array_equal(getattr(warm, name), getattr(plain, name))
    for i, t in enumerate(plain.answer_prefix):
        expected = divided(np.maximum(plain.probs[i], 1e-38), TEMPERATURES[t - 1])
        np.testing.assert_allclose(warm.probs[i], expected, atol=1e-6)


def test_an_answer_is_marked_below_the_threshold_and_not_at_it():
    probs = np.array([[0.5, 0.5], [0.625, 0.375], [0.25, 0.75]], np.float32)
    assert below(probs, 0.625).tolist() == [True, False, False]
    assert below(probs, 0.0).tolist() == [False, False, False]
    assert below(probs[:0], 0.625).shape == (0,)
