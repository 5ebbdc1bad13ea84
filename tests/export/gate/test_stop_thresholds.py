"""Thresholds per stop against a walk image by image and against trying every combination."""

from itertools import pairwise, product

import numpy as np
import pytest

from eed_edge.export.gate.calibration import calibrate
from eed_edge.export.gate.stop_thresholds import (
    CANDIDATES,
    falling_thresholds,
    search_thresholds,
    stop_table,
)
from eed_edge.gate_rules.confidence_rule import NEVER_STOP
from eed_edge.recipe import Gate
from tests.export.gate.test_calibration import answers

NEVER = (NEVER_STOP, NEVER_STOP)


def walk(versions, labels, thresholds):
    """Mean sub-models run on the first version, and the images lost in any, one image at a time."""
    used, lost = 0, 0
    for j, label in enumerate(labels):
        dropped = False
        for version in versions:
            for t in range(1, len(version) + 1):
                mean = version[:t, j].mean(0, dtype=np.float64)
                if t == len(version) or mean.max() >= thresholds[t - 1]:
                    break
            used += t if version is versions[0] else 0
            dropped |= version[:, j].mean(0, dtype=np.float64).argmax() == label != mean.argmax()
        lost += dropped
    return used / len(labels), lost


def recorded_answers(seed, members=3, images=300):
    recorded = answers(images=images, members=members, seed=seed)
    return (recorded.clean, *recorded.attacked), recorded.labels


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.9, 0.4), (2.0, 0.6), (0.45, 2.0), NEVER, (0.0, 0.0)])
def test_the_cost_of_thresholds_is_what_a_walk_image_by_image_counts(thresholds):
    versions, labels = recorded_answers(0)
    assert stop_table(versions, labels).cost(thresholds) == pytest.approx(walk(versions, labels, thresholds))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("allowed", [0, 3, 12])
def test_the_search_holds_the_limit_beats_equal_thresholds_and_comes_near_the_best_of_all(seed, allowed):
    table = stop_table(*recorded_answers(seed))
    cost = table.cost(search_thresholds(table, allowed))
    assert cost[1] <= allowed
    costs = {pair: table.cost(pair) for pair in product(CANDIDATES[::2], repeat=2)}
    within = {pair: used for pair, (used, lost) in costs.items() if lost <= allowed}
    assert cost[0] <= min(within.values()) + 0.05
    equal = {pair[0]: used for pair, used in within.items() if pair[0] == pair[1]}
    start = min(equal, key=equal.get)
    assert table.cost(search_thresholds(table, allowed, [(start, start)]))[0] <= equal[start]


def test_a_start_beyond_the_limit_is_left_out():
    table = stop_table(*recorded_answers(1))
    assert table.cost((0.0, 0.0))[1] > 3
    assert table.cost(search_thresholds(table, 3, [(0.0, 0.0)]))[1] <= 3


def test_the_fixed_line_starts_where_nothing_stops_and_goes_down_at_every_stop():
    line = falling_thresholds(3)
    assert line[0] == (NEVER_STOP,) * 3
    assert line == sorted(line, reverse=True)
    for before, after in pairwise(line):
        assert all(low <= high for low, high in zip(after, before, strict=True))


def test_calibration_takes_thresholds_per_stop_only_where_they_run_fewer_submodels():
    for seed in range(4):
        recorded = answers(seed=seed)
        setting = calibrate(recorded, Gate(max_drop=0.02))["confidence"]
        assert setting.lost_attacked <= 0.02
        versions = (recorded.clean, *recorded.attacked)
        common = (setting.parameters["threshold"],) * 2
        used, lost = walk(versions, recorded.labels, common)
        assert lost / len(recorded.labels) <= 0.02
        assert setting.submodels_used <= used
        if "thresholds" in setting.parameters:
            assert setting.submodels_used < used
            assert len(setting.parameters["thresholds"]) == 2
    two = calibrate(answers(members=2), Gate(max_drop=0.02))["confidence"]
    assert list(two.parameters) == ["threshold"]  # there is one stop to set
