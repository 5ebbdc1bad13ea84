"""Latency match: the widest uniformly narrower copy of the base that meets a target latency."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from eed_edge.arrays import Floats
from eed_edge.errors import InputError, NetworkError
from eed_edge.export.network_graph import INPUT, OUTPUT, to_onnx
from eed_edge.prune.groups import Structure, analyse, count_cost
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.score_search import ChannelScores
from eed_edge.prune.widths import Budget, choose_widths
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.measure.clock import in_blocks
from eed_edge.runtime.measure.conditions import (
    busy_warning,
    conditions_between,
    conditions_line,
    snapshot,
)
from eed_edge.train.networks.build import Classifier, build_network

log = logging.getLogger(__name__)
Widths = dict[str, int]
STEP = 0.93
"""Multiply-accumulates of each width as a share of the next larger one's, approximately."""
ROUNDS_EACH, LAST_ROUNDS = 6, 12
NAME = "dynamic"


@dataclass(frozen=True)
class LatencyMatch:
    """The widths, the mean milliseconds per image of this network, and the target."""

    widths: Widths
    mean_ms: float
    target_ms: float


def widest_within(
    dense: Classifier,
    images: Floats,
    *,
    dynamic: Callable[[Floats], object] | None,
    mean_ms: float | None,
    round_to: int,
    seed: int,
) -> LatencyMatch:
    """Find the widest narrower copy of ``dense`` that is not slower than ``dynamic`` or ``mean_ms``.

    Networks with random weights are timed in onnxruntime, one thread, one image per call,
    in blocks that alternate with those of ``dynamic``: bisection first, then all widths near the result
    together. Each image counts with its fastest round, so that other work on the machine does not.

    Args:
        images: real ones, ``(n, c, h, w)`` in [0, 1].
        mean_ms: target in place of the latency of ``dynamic``.

    Raises:
        InputError: neither ``dynamic`` nor ``mean_ms``.
    """
    if dynamic is None and mean_ms is None:
        raise InputError("expected a bundle or a latency to equal, got neither; give BUNDLE or --mean-ms")
    image = torch.from_numpy(images[:1])
    structure, _ = analyse(dense, image)
    ladder = width_ladder(structure, round_to=round_to)
    made: dict[int, Callable[[int], object]] = {}

    def timed(indices: list[int], rounds: int) -> tuple[dict[int, float], float]:
        for i in set(indices) - made.keys():
            made[i] = _call(to_onnx(reinitialised(dense, ladder[i], image, seed=seed), image), images)
        calls: dict[str, Callable[[int], object]] = {str(i): made[i] for i in indices}
        if mean_ms is None and dynamic is not None:
            calls[NAME] = lambda item: dynamic(images[item : item + 1])
        times = in_blocks(calls, items=len(images), rounds=rounds)
        means = {name: float(ms.min(axis=0).mean()) for name, ms in times.items()}
        target = means.pop(NAME) if mean_ms is None else mean_ms
        return {int(name): value for name, value in means.items()}, target

    before, low, high = snapshot(), 0, len(ladder) - 1
    while low < high:
        middle = (low + high + 1) // 2
        means, target = timed([middle], ROUNDS_EACH)
        log.info("narrow: %s", _describe(structure, ladder[middle], means[middle], target))
        low, high = (middle, high) if means[middle] <= target else (low, middle - 1)
    near = list(range(max(0, low - 1), min(len(ladder), low + 3)))
    means, target = timed(near, LAST_ROUNDS)
    within = [i for i in near if means[i] <= target]
    best = max(within) if within else min(near, key=means.__getitem__)
    if not within:
        log.warning(
            "narrow: no width meets the target latency; using the fastest, which is slower than the target"
        )
    conditions = conditions_between(before, snapshot())
    log.info("narrow: timed at %s", conditions_line(conditions))
    if warning := busy_warning(conditions):
        log.warning("narrow: %s", warning)
    log.info("narrow: %s; chosen", _describe(structure, ladder[best], means[best], target))
    return LatencyMatch(ladder[best], means[best], target)


def width_ladder(structure: Structure, *, round_to: int) -> list[Widths]:
    """Uniformly narrower widths in multiples of ``round_to``, from the narrowest to the full network.

    See ``choose_widths`` for the rounding.
    """
    full = {group.root: group.channels for group in structure.groups}
    _, macs = structure.cost(dict.fromkeys(full, 1.0))
    ladder, share = [full], 1.0
    while True:
        share *= STEP
        try:
            budget = Budget(float("inf"), share * macs)
            widths = choose_widths(structure, dict.fromkeys(full, 1.0), budget, round_to=round_to)
        except NetworkError:  # narrower than the narrowest
            return ladder[::-1]
        if widths != ladder[-1]:
            ladder.append(widths)


def reinitialised(dense: Classifier, widths: Widths, image: torch.Tensor, *, seed: int) -> Classifier:
    """Build a network of these widths with new weights and the normalisation of ``dense``."""
    net = build_network(**dense.architecture, seed=seed)
    structure, _ = analyse(net, image.cpu())
    scores = {group.root: torch.arange(group.channels) for group in structure.groups}
    net = remove_channels(net, ChannelScores(scores, {}), image.cpu(), widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in net.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    net.normalise = copy.deepcopy(dense.normalise).cpu()
    return net


def network_size(net: Classifier, image: torch.Tensor) -> dict[str, int]:
    """Parameters and multiply-accumulates of ``net`` for one image."""
    params, macs = count_cost(net, image)
    return {"params": params, "macs": macs}


def _call(model: bytes, images: Floats) -> Callable[[int], Any]:
    session = open_session(model, "narrow.onnx")
    return lambda item: session.run([OUTPUT], {INPUT: images[item : item + 1]})


def _describe(structure: Structure, widths: Widths, mean_ms: float, target_ms: float) -> str:
    full = {group.root: group.channels for group in structure.groups}
    _, macs = structure.cost({root: width / full[root] for root, width in widths.items()})
    return f"{macs / 1e6:.2f} M MACs take {mean_ms:.3f} ms, target {target_ms:.3f} ms"
