"""How long an evaluation takes, estimated from a few timed gradients before it starts."""

import time
from typing import NamedTuple

import torch
from torch import nn

from eed_edge.attacks.autoattack import AutoAttack, ShortAPGD
from eed_edge.attacks.interface import Attack
from eed_edge.evaluate.evaluation_job import EvaluationJob
from eed_edge.train.data.batches import as_float

TIMED = 16
"""Images that are timed together."""
SQUARE_QUERIES = 5000
"""Of AutoAttack's Square; a query is a forward pass, a third of a step with its gradient."""


class EvaluationSeconds(NamedTuple):
    """Seconds of all attacks of a suite.

    expected: if as many images stay right as on tune, where training has recorded that.
    most: if every image stayed right to the end.
    """

    expected: float | None
    most: float


def evaluation_seconds(job: EvaluationJob, device: torch.device) -> EvaluationSeconds:
    """Time a few gradients, and count how many the suite takes."""
    models, classes = job.models, len(job.run.classes)
    shown = as_float(job.images[slice(0, TIMED)].images).to(device)
    singles = sum(_step_seconds(net, shown) for net in models.singles.values())
    prefixes = sum(_step_seconds(prefix, shown) for prefix in models.prefixes)
    kinds = list(job.suite.kinds.values())
    seconds = sum(gradient_steps(attack, classes) for attack in kinds) * (singles + prefixes)
    spared = 0.0
    best = job.run.joint()["training"]["best"]
    for attack in kinds if "attacked" in best else ():
        first, rest = _steps_of_autoattack(attack, classes)
        left_out = first * (1 - best["clean"]) + rest * (1 - best["attacked"])
        spared += left_out * (singles + prefixes)
    if job.suite.adaptive:
        team_seconds, stops = _step_seconds(models.ensemble, shown), len(models.ensemble.members)
        extra, members = (gradient_steps(each, classes) for each in (job.suite.extra, job.suite.members))
        rule = job.suite.rule
        # Each member but the first, the smooth gate, the members together, and the rule at each stop.
        seconds += team_seconds * (2 * extra + members + rule.steps * rule.restarts * stops)
    images = len(job.drawn)
    return EvaluationSeconds((seconds - spared) * images if "attacked" in best else None, seconds * images)


def gradient_steps(attack: Attack, classes: int) -> int:
    """Steps with a gradient that an attack takes for one image that withstands it to the end."""
    return sum(_steps_of_autoattack(attack, classes)) or int(getattr(attack, "steps", 1))


def _steps_of_autoattack(attack: Attack, classes: int) -> tuple[int, int]:
    """Steps of its first attack, on images that are right, and of the others, on images that withstand it."""
    if not isinstance(attack, AutoAttack) or isinstance(attack, ShortAPGD):
        return 0, 0
    targets = min(9, classes - 1)
    last = attack.steps * targets + SQUARE_QUERIES // 3 if type(attack) is AutoAttack else 0
    return attack.steps, attack.steps * targets + last


def _step_seconds(net: nn.Module, images: torch.Tensor) -> float:
    """Seconds per image of a forward pass and the gradient at the image, after a warm-up."""
    shown = images.clone().requires_grad_(True)
    for _ in range(2):
        started = time.perf_counter()
        torch.autograd.grad(net(shown).sum(), shown)
        if images.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return seconds / len(images)
