"""Accuracy on tune of teams of different sizes, each with the gate that gives it the same mean time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Bools, Doubles, Floats
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.export.gate.calib_answers import member_probs
from eed_edge.export.network_graph import INPUT, OUTPUT, to_onnx
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.recipe import Recipe
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.measure.clock import in_blocks
from eed_edge.train.data.batches import Images, as_float, images_at_once, in_order
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.validation import VALIDATION_BATCH

RULE = "confidence"
TIMED_IMAGES, TIMED_ROUNDS = 64, 12


@dataclass(frozen=True)
class ShapeAccuracy:
    """A team of some size behind the threshold that brings it to the mean time of all.

    members: networks of the team.
    params, macs: their sums.
    ms: milliseconds of an image on which the first t members run, for t = 1, 2, ….
    mean_ms: mean over the clean images at ``threshold``.
    threshold: of the rule ``confidence``, equal at all stops.
    submodels_used: mean number of members that run.
    clean: share of tune that is classified correctly.
    attacked: share that are still so on every version attacked against a prefix; None without attacks.
    """

    members: int
    params: int
    macs: int
    ms: tuple[float, ...]
    mean_ms: float
    threshold: float
    submodels_used: float
    clean: float
    attacked: float | None

    @property
    def judged(self) -> float:
        """What shapes are compared by."""
        return self.clean if self.attacked is None else self.attacked


def prefix_times(teams: Sequence[Ensemble], images: Images) -> list[tuple[float, ...]]:
    """Mean milliseconds of every prefix of every team, in blocks; one thread, one image a call.

    Args:
        images: the first ``TIMED_IMAGES`` are used.
    """
    pixels: Floats = as_float(images.images[:TIMED_IMAGES]).numpy()
    sessions = [
        [open_session(to_onnx(net, torch.from_numpy(pixels[:1])), "member.onnx") for net in team.members]
        for team in teams
    ]

    def run(team: int, length: int, i: int) -> None:
        for session in sessions[team][:length]:
            session.run([OUTPUT], {INPUT: pixels[i : i + 1]})

    prefixes = [(team, t) for team, nets in enumerate(sessions) for t in range(1, len(nets) + 1)]
    calls = {str(prefix): partial(run, *prefix) for prefix in prefixes}
    times = in_blocks(calls, items=len(pixels), rounds=TIMED_ROUNDS)
    mean = {prefix: float(np.median(times[str(prefix)].mean(axis=1))) for prefix in prefixes}
    return [tuple(mean[team, t] for t in range(1, len(nets) + 1)) for team, nets in enumerate(sessions)]


def shape_accuracy(
    team: Ensemble,
    tune: Images,
    recipe: Recipe,
    *,
    ms: tuple[float, ...],
    mean_ms: float,
    size: tuple[int, int],
) -> ShapeAccuracy:
    """Judge a team as deployed with the largest threshold whose mean time is at most ``mean_ms``.

    An image counts as attacked correctly only if the deployed rule is right on it and on its versions made
    by PGD on the cross-entropy and on the margin against every prefix, with ``joint.judge_steps`` steps.

    Args:
        tune: the first ``joint.judge_images`` are used.
        ms: time of every prefix.
        size: parameters and MACs of the team.
    """
    images = tune[slice(0, recipe.joint.judge_images)]
    labels = images.labels.numpy()
    clean = member_probs(team, as_float(images.images))
    cost = np.array(ms)
    threshold, used = _threshold(clean, cost, mean_ms)
    right = _right(clean, labels, threshold)
    share, attacked = float(right.mean()), None
    if recipe.attacked:
        for version in _attacked_versions(team, images, recipe):
            right &= _right(member_probs(team, version), labels, threshold)
        attacked = float(right.mean())
    return ShapeAccuracy(
        members=len(ms), params=size[0], macs=size[1], ms=ms, mean_ms=float(cost[used - 1].mean()),
        threshold=threshold, submodels_used=float(used.mean()), clean=share, attacked=attacked,
    )  # fmt: skip


def _threshold(clean: Floats, cost: Doubles, mean_ms: float) -> tuple[float, NDArray[np.int64]]:
    """The largest threshold whose mean time is at most ``mean_ms``, else 0; and the members used at it."""

    def used(threshold: float) -> NDArray[np.int64]:
        return replay_rule(clean, RULE, {"threshold": threshold}).submodels_used

    grid = [setting["threshold"] for setting in GATE_RULES[RULE].calibration_grid(len(clean))]
    best = max((value for value in grid if cost[used(value) - 1].mean() <= mean_ms), default=0.0)
    return best, used(best)


def _right(probs: Floats, labels: NDArray[np.int64], threshold: float) -> Bools:
    right: Bools = replay_rule(probs, RULE, {"threshold": threshold}).labels == labels
    return right


def _attacked_versions(team: Ensemble, images: Images, recipe: Recipe) -> list[Tensor]:
    """Every attack against every prefix: ``(n, c, h, w)`` each."""
    eps, steps = recipe.base.eps_255 / 255, recipe.joint.judge_steps
    size, versions = images_at_once(images.images, VALIDATION_BATCH), []
    for length in range(1, len(team.members) + 1):
        prefix = team.prefix(length)
        with frozen(prefix):
            for attack in (PGD(steps=steps), CarliniWagner(steps=steps, steps_per_eps=4)):
                threat = Threat(eps, generator=torch.Generator().manual_seed(recipe.seed))
                parts = [attack(prefix, batch, labels, threat) for batch, labels in in_order(images, size)]
                versions.append(torch.cat(parts))
    return versions
