"""Latency match: pick from a ladder of networks the one whose mean latency is nearest to a bundle's."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eed_edge.arrays import Floats
from eed_edge.errors import InputError, NetworkError
from eed_edge.export.network_graph import INPUT, OUTPUT, to_onnx
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.widths import Budget, choose_widths
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.measure.clock import Ratio, Times, in_blocks, ratio
from eed_edge.runtime.measure.conditions import (
    busy_warning,
    conditions_between,
    conditions_line,
    snapshot,
)
from eed_edge.train.networks.build import Classifier

log = logging.getLogger(__name__)
Widths = dict[str, int]
STEP = 0.93
"""Multiply-accumulates of each rung as a share of the next larger one's, approximately, before stages."""
TOLERANCE = 0.05
"""How far from the target a match may be, as a share of it."""
CLOSE = 0.03
"""Logarithm of a ratio from which the rungs around it are compared directly."""
ROUNDS_EACH, LAST_ROUNDS = 4, 12
NAME = "dynamic"


@dataclass(frozen=True)
class LatencyTarget:
    """Target of the match: the mean latency of ``dynamic`` on ``images``, or ``mean_ms``.

    images: real ones, ``(n, c, h, w)`` float32 in [0, 1].
    """

    images: Floats
    dynamic: Callable[[Floats], object] | None = None
    mean_ms: float | None = None

    def __post_init__(self) -> None:
        if self.dynamic is None and self.mean_ms is None:
            raise InputError("expected a bundle or a latency to equal, got neither; give BUNDLE or --mean-ms")


@dataclass(frozen=True)
class LatencyMatch:
    """The widths of a network, the mean milliseconds per image of this network, and the target.

    conditions: load, clock rate and processor while it was timed, as one line.
    """

    widths: Widths
    mean_ms: float
    target_ms: float
    conditions: str


def nearest_latency(
    ladder: Sequence[Widths], build: Callable[[Widths], Classifier], target: LatencyTarget, *, name: str
) -> LatencyMatch:
    """Find the rung of the ladder whose mean latency is nearest to the target.

    Networks are timed in onnxruntime, one thread, one image per call, in blocks that alternate with those of
    the target: one at a time until one is near, then the rungs around it together.

    Args:
        ladder: widths, from the smallest network to the largest.
        build: a network of these widths; its weights do not matter.
        name: of the baseline, for the log.
    """
    calls: dict[int, Callable[[int], Any]] = {}
    images = target.images

    def timed(rungs: Sequence[int], rounds: int) -> tuple[dict[int, Ratio], float]:
        for rung in set(rungs) - calls.keys():
            calls[rung] = _call(to_onnx(build(ladder[rung]), torch.from_numpy(images[:1])), images)
        programs: dict[str, Callable[[int], object]] = {str(rung): calls[rung] for rung in rungs}
        if target.mean_ms is None and target.dynamic is not None:
            dynamic = target.dynamic
            programs[NAME] = lambda item: dynamic(images[item : item + 1])
        times = in_blocks(programs, items=len(images), rounds=rounds)
        fixed = np.full((rounds, 1), target.mean_ms) if target.mean_ms is not None else None
        goal: Times = times.pop(NAME) if fixed is None else fixed
        ratios = {int(key): ratio(ms, goal) for key, ms in times.items()}
        for rung, share in ratios.items():
            log.info("%s: rung %d of %d takes %.3f of the target", name, rung, len(ladder), share.median)
        return ratios, float(np.median(goal.mean(axis=1)))

    before = snapshot()
    low = _last_below(lambda rung: float(np.log(timed([rung], ROUNDS_EACH)[0][rung].median)), len(ladder))
    ratios, goal_ms = timed(range(max(0, low - 1), min(len(ladder), low + 3)), LAST_ROUNDS)
    best = min(ratios, key=lambda rung: abs(np.log(ratios[rung].median)))
    conditions = conditions_between(before, snapshot())
    line = conditions_line(conditions)
    log.info("%s: timed at %s", name, line)
    for warning in filter(None, (busy_warning(conditions), _off_target(ratios[best], len(ladder), best))):
        log.warning("%s: %s", name, warning)
    return LatencyMatch(ladder[best], ratios[best].median * goal_ms, goal_ms, line)


def _last_below(log_ratio: Callable[[int], float], rungs: int) -> int:
    """Find about the last rung whose time is not above the target's; each call of ``log_ratio`` is an export.

    Logarithms of times rise nearly in proportion to the rung, so the next rung is where the line through the
    last two meets the target, inside of the bracket so far; from the fifth on the bracket is halved.
    """
    low, high, rung = 0, rungs - 1, rungs // 2
    last: tuple[int, float] | None = None
    for step in itertools.count():
        if low == high:
            break
        value = log_ratio(rung)
        low, high = (rung, high) if value <= 0 else (low, rung - 1)
        if abs(value) <= CLOSE:
            return rung if value <= 0 else max(0, rung - 1)
        line = (low + high + 1) // 2
        if step < 4 and last is not None and (value - last[1]) * (rung - last[0]) > 0:
            line = rung - round(value * (rung - last[0]) / (value - last[1]))
        last, rung = (rung, value), min(max(line, low + 1), high)
    return low


def width_ladder(
    structure: Structure, keep_ratio: Mapping[str, float] | None = None, *, round_to: int
) -> list[Widths]:
    """Widths in multiples of ``round_to``, from the narrowest network to the full one, stage by stage.

    All keep ratios are scaled down together. Between two such networks lie those in which the last stages
    are as wide as in the larger one already; a stage is all groups of the same number of channels.

    Args:
        keep_ratio: group root to a share in (0, 1]; None takes 1 for each.
    """
    full = {group.root: group.channels for group in structure.groups}
    keep = keep_ratio or dict.fromkeys(full, 1.0)
    _, macs = structure.cost(dict.fromkeys(full, 1.0))
    coarse, share = [full], 1.0
    while True:
        share *= STEP
        try:
            widths = choose_widths(structure, keep, Budget(float("inf"), share * macs), round_to=round_to)
        except NetworkError:  # narrower than the narrowest
            break
        coarse.append(widths)
    stages = sorted(set(full.values()), reverse=True)
    ladder = {tuple(widths.items()): widths for widths in coarse}
    for wide, narrow in itertools.pairwise(coarse):
        for count in range(1, len(stages)):
            mixed = {root: (wide if full[root] in stages[:count] else narrow)[root] for root in full}
            ladder[tuple(mixed.items())] = mixed

    def cost(widths: Widths) -> float:
        return float(structure.cost({root: width / full[root] for root, width in widths.items()})[1])

    return sorted(ladder.values(), key=cost)


def _call(model: bytes, images: Floats) -> Callable[[int], Any]:
    session = open_session(model, "baseline.onnx")
    return lambda item: session.run([OUTPUT], {INPUT: images[item : item + 1]})


def _off_target(share: Ratio, rungs: int, rung: int) -> str:
    """Return a warning about a match that is off target, else an empty text."""
    if abs(share.median - 1) <= TOLERANCE:
        return ""
    end = {0: ", the narrowest network", rungs - 1: ", the full network"}.get(rung, "")
    return (
        f"expected a network within {TOLERANCE:.0%} of the target's mean latency, the nearest takes"
        f" {share.median:.2f} of it{end}"
    )
