"""The latency match: of the ladder's networks the one nearest to the target, in blocks with it."""

import itertools
import math

import numpy as np
import pytest
import torch

from eed_edge.errors import InputError
from eed_edge.evaluate.baselines import latency_match
from eed_edge.evaluate.baselines.latency_match import LatencyTarget, nearest_latency, width_ladder
from eed_edge.evaluate.baselines.narrow_network import reinitialised
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.groups import analyse
from eed_edge.train.networks import build
from tests.conftest import call

IMAGE = torch.rand(1, 3, 8, 8)


@pytest.fixture(scope="module")
def dense():
    return build.build_network("resnet18", classes=4, channels=3, width=16).eval()


@pytest.fixture(scope="module")
def structure(dense):
    return analyse(dense, IMAGE)


@pytest.fixture(scope="module")
def ladder(structure):
    return width_ladder(structure, round_to=8)


def macs(structure, widths):
    full = {group.root: group.channels for group in structure.groups}
    return structure.cost({root: width / full[root] for root, width in widths.items()})[1]


def test_the_ladder_grows_stage_by_stage_from_eight_channels_to_the_whole_network(dense, structure, ladder):
    sizes = [macs(structure, widths) for widths in ladder]
    assert sizes == sorted(sizes)
    assert max(ladder[0].values()) <= 16 < max(ladder[-1].values())
    assert sizes[-1] == count_cost(dense, IMAGE)[1]
    assert all(width % 8 == 0 for widths in ladder for width in widths.values())
    assert max(b / a for a, b in itertools.pairwise(sizes)) < 1.3
    full = {group.root: group.channels for group in structure.groups}
    shares = [{round(width / full[root], 3) for root, width in widths.items()} for widths in ladder]
    assert any(len(share) > 1 for share in shares)


def test_learned_keep_ratios_give_wider_layers_where_they_are_higher(structure):
    first, *rest = (group.root for group in structure.groups)
    keep = {first: 1.0, **dict.fromkeys(rest, 0.25)}
    for widths in width_ladder(structure, keep, round_to=8)[5:-20]:
        share = {group.root: widths[group.root] / group.channels for group in structure.groups}
        assert share[first] >= max(share[root] for root in rest)


def test_new_weights_are_those_of_a_new_network_of_that_width(dense, structure):
    half = {group.root: group.channels // 2 for group in structure.groups}
    net = reinitialised(dense, half, IMAGE, seed=3)
    plain = build.build_network("resnet18", classes=4, channels=3, width=8).state_dict()
    for name, tensor in net.state_dict().items():
        assert tensor.shape == plain[name].shape
        if tensor.dim() == 4 and tensor.numel() > 1000:
            assert tensor.std().item() == pytest.approx(plain[name].std().item(), rel=0.1)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.55, 0.9, 2.0])
def test_the_network_nearest_to_the_latency_is_found(
    dense, structure, ladder, monkeypatch, caplog, share, by_hand
):
    """Time stands still here: a network takes as many milliseconds as it has multiply-accumulates."""
    monkeypatch.setattr(latency_match, "to_onnx", lambda net, image: count_cost(net, image)[1])
    monkeypatch.setattr(latency_match, "_call", lambda macs, images: macs)
    goal = share * count_cost(dense, IMAGE)[1]

    def timed(calls, *, items, rounds):
        return {
            name: np.full((rounds, items), call if name.isdigit() else goal) for name, call in calls.items()
        }

    monkeypatch.setattr(latency_match, "in_blocks", timed)
    target = LatencyTarget(IMAGE.numpy(), *((None, goal) if by_hand else (lambda images: None, None)))
    match = nearest_latency(
        ladder, lambda widths: reinitialised(dense, widths, IMAGE, seed=0), target, name="narrow"
    )
    sizes = [macs(structure, widths) for widths in ladder]
    nearest = min(sizes, key=lambda size: abs(np.log(size / goal)))
    assert macs(structure, match.widths) == nearest
    assert (match.mean_ms, match.target_ms) == pytest.approx((nearest, goal))
    off = abs(nearest / goal - 1) > 0.05
    assert ("expected a network within 5%" in caplog.text) == off


def test_without_a_bundle_and_a_latency_there_is_nothing_to_equal(tmp_path):
    with pytest.raises(InputError, match="give BUNDLE or --mean-ms"):
        LatencyTarget(IMAGE.numpy())
    for command in ("narrow", "single"):
        assert call(command, tmp_path).exit_code == 2


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
    match, exports = search(lambda rung: 0.018 * (rung - target) + noise[rung], 143)
    assert abs(match - target) <= 3
    assert exports <= 5


@pytest.mark.parametrize("target", [0.5, 5, 60, 141.5])
def test_a_curve_and_steps_are_followed_to_the_last_rung_below(target):
    def steps(rung: int) -> float:
        return 5 * (math.floor(rung / 2) - math.floor(target / 2)) * (1 if rung > target else 3) or -0.5

    match, exports = search(steps, 143)
    assert steps(match) <= 0 < steps(min(142, match + 2))
    assert exports <= 12


@pytest.mark.parametrize(("value", "end"), [(1.0, 0), (-1.0, 142)])
def test_a_target_beyond_the_ladder_ends_at_its_end(value, end):
    assert search(lambda rung: value, 143)[0] == end
