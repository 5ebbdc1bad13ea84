"""A uniformly narrower copy of the base, as large as a latency allows that is measured here and now."""

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
from eed_edge.runtime.measure.timing import interleaved
from eed_edge.train.networks.build import Classifier, build_network

log = logging.getLogger(__name__)
Widths = dict[str, int]
STEP = 0.93
"""Each width that is looked at has about this share of the next larger one's multiply-accumulates."""
REPEATS, LAST_REPEATS = 5, 11
NAME = "dynamic"


@dataclass(frozen=True)
class LatencyMatch:
    """The widths, and the mean milliseconds over images for this network and for what it has to equal."""

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
    """The largest narrower copy of ``dense`` that is not slower than ``dynamic`` or ``mean_ms``.

    Networks with random weights are timed in onnxruntime, one thread, one image a call, taking
    turns with ``dynamic``: bisection first, then everything near the answer once more together. Of
    every image the fastest repeat counts, so that other work on the machine does not.

    Args:
        images: real ones, ``(n, c, h, w)`` in [0, 1].
        mean_ms: counts instead of ``dynamic`` when it is given.

    Raises:
        InputError: neither ``dynamic`` nor ``mean_ms``.
    """
    if dynamic is None and mean_ms is None:
        raise InputError("expected a bundle or a latency to equal, got neither; give BUNDLE or --mean-ms")
    image = torch.from_numpy(images[:1])
    structure, _ = analyse(dense, image)
    choices = width_ladder(structure, round_to=round_to)
    made: dict[int, Callable[[int], object]] = {}

    def timed(indices: list[int], repeats: int) -> tuple[dict[int, float], float]:
        for i in set(indices) - made.keys():
            made[i] = _call(to_onnx(reinitialised(dense, choices[i], image, seed=seed), image), images)
        calls: dict[str, Callable[[int], object]] = {str(i): made[i] for i in indices}
        if mean_ms is None and dynamic is not None:
            calls[NAME] = lambda item: dynamic(images[item : item + 1])
        times = interleaved(calls, items=len(images), repeats=repeats)
        means = {name: float(found.min(axis=0).mean()) for name, found in times.items()}
        target = means.pop(NAME) if mean_ms is None else mean_ms
        return {int(name): value for name, value in means.items()}, target

    low, high = 0, len(choices) - 1
    while low < high:
        middle = (low + high + 1) // 2
        means, target = timed([middle], REPEATS)
        log.info("narrow: %s", _told(structure, choices[middle], means[middle], target))
        low, high = (middle, high) if means[middle] <= target else (low, middle - 1)
    near = list(range(max(0, low - 1), min(len(choices), low + 3)))
    means, target = timed(near, LAST_REPEATS)
    within = [i for i in near if means[i] <= target]
    best = max(within) if within else min(near, key=means.__getitem__)
    if not within:
        log.warning("narrow: no narrower copy is as fast; the fastest one has the advantage of being slower")
    log.info("narrow: %s; taken", _told(structure, choices[best], means[best], target))
    return LatencyMatch(choices[best], means[best], target)


def width_ladder(structure: Structure, *, round_to: int) -> list[Widths]:
    """Uniformly narrower widths in multiples of ``round_to``, from the narrowest to the whole network.

    What rounding leaves of each step's multiply-accumulates goes to the layers that it wronged most.
    """
    whole = {group.root: group.channels for group in structure.groups}
    _, macs = structure.cost(dict.fromkeys(whole, 1.0))
    found, share = [whole], 1.0
    while True:
        share *= STEP
        try:
            budget = Budget(float("inf"), share * macs)
            chosen = choose_widths(structure, dict.fromkeys(whole, 1.0), budget, round_to=round_to)
        except NetworkError:  # narrower than the narrowest
            return found[::-1]
        if chosen != found[-1]:
            found.append(chosen)


def reinitialised(dense: Classifier, chosen: Widths, image: torch.Tensor, *, seed: int) -> Classifier:
    """A network of these widths with new weights and the normalisation of ``dense``."""
    net = build_network(**dense.architecture, seed=seed)
    structure, _ = analyse(net, image.cpu())
    scores = {group.root: torch.arange(group.channels) for group in structure.groups}
    net = remove_channels(net, ChannelScores(scores, {}), image.cpu(), chosen)
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
    session = open_session(model, "narrow.onnx", threads=1)
    return lambda item: session.run([OUTPUT], {INPUT: images[item : item + 1]})


def _told(structure: Structure, chosen: Widths, mean_ms: float, target_ms: float) -> str:
    whole = {group.root: group.channels for group in structure.groups}
    _, macs = structure.cost({root: width / whole[root] for root, width in chosen.items()})
    return f"{macs / 1e6:.2f} M MACs take {mean_ms:.3f} ms, {target_ms:.3f} ms wanted"
