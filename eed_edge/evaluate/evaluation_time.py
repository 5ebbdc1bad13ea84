"""How long an evaluation takes at most, estimated from a few timed gradients before it starts."""

import time

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


def evaluation_seconds(job: EvaluationJob, device: torch.device) -> float:
    """Seconds of all attacks of a suite if every image stayed right to the end; as fewer do, at most."""
    models, classes = job.models, len(job.run.classes)
    images = as_float(job.images[slice(0, TIMED)].images).to(device)
    singles = sum(_step_seconds(net, images) for net in models.singles.values())
    prefixes = sum(_step_seconds(prefix, images) for prefix in models.prefixes)
    steps = sum(gradient_steps(attack, classes) for attack in job.suite.kinds.values())
    seconds = steps * (singles + prefixes)
    if job.suite.adaptive:
        whole, stops = _step_seconds(models.ensemble, images), len(models.ensemble.members)
        extra, members = (gradient_steps(each, classes) for each in (job.suite.extra, job.suite.members))
        rule = job.suite.rule
        # Each member but the first, the smooth gate, the members together, and the rule at each stop.
        seconds += whole * (2 * extra + members + rule.steps * rule.restarts * stops)
    return seconds * len(job.drawn)


def gradient_steps(attack: Attack, classes: int) -> int:
    """Steps with a gradient that an attack takes for one image."""
    steps = int(getattr(attack, "steps", 1))
    if not isinstance(attack, AutoAttack) or isinstance(attack, ShortAPGD):
        return steps
    targets = min(9, classes - 1)
    rest = steps * targets + SQUARE_QUERIES // 3 if type(attack) is AutoAttack else 0
    return steps * (1 + targets) + rest


def _step_seconds(net: nn.Module, images: torch.Tensor) -> float:
    """Seconds an image of a forward pass and the gradient at the image, once it is warm."""
    shown = images.clone().requires_grad_(True)
    for _ in range(2):
        started = time.perf_counter()
        torch.autograd.grad(net(shown).sum(), shown)
        if images.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return seconds / len(images)
