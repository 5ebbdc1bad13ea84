"""The search for the rung whose time is nearest to the target: right, and with few exports."""

import math

import numpy as np
import pytest

from eed_edge.evaluate.baselines import latency_match


def search(log_ratio, rungs: int) -> tuple[int, int]:
    """The rung found, and how many were timed."""
    asked: list[int] = []

    def timed(rung: int) -> float:
        assert 0 <= rung < rungs
        asked.append(rung)
        return log_ratio(rung)

    return latency_match._last_below(timed, rungs), len(asked)


@pytest.mark.parametrize("target", [3, 20, 71, 100, 140])
def test_times_that_rise_evenly_take_few_exports(target):
    noise = np.random.default_rng(target).normal(0, 0.005, 143)
    found, exports = search(lambda rung: 0.018 * (rung - target) + noise[rung], 143)
    assert abs(found - target) <= 3
    assert exports <= 5


@pytest.mark.parametrize("target", [0.5, 5, 60, 141.5])
def test_a_curve_and_steps_are_followed_to_the_last_rung_below(target):
    def steps(rung: int) -> float:
        return 5 * (math.floor(rung / 2) - math.floor(target / 2)) * (1 if rung > target else 3) or -0.5

    found, exports = search(steps, 143)
    assert steps(found) <= 0 < steps(min(142, found + 2))
    assert exports <= 12


@pytest.mark.parametrize(("value", "end"), [(1.0, 0), (-1.0, 142)])
def test_a_target_beyond_the_ladder_ends_at_its_end(value, end):
    assert search(lambda rung: value, 143)[0] == end
