"""Torch parity: whether adversarial images get the same labels from the exported bundle as in torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.evaluate.adaptive.stop_rule import StopRule, replay_stop_rule
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback
from eed_edge.runtime.gates.margins import distance_to_tie
from eed_edge.train.data.batches import images_at_once

BATCH = 250
ALLOWED = {"float32": 1000, "int8": 200}
"""One disagreement in so many images may be a matter of rounding, by the bundle's precision."""


def check_torch_parity(
    models: ModelsCompared, attacked: Mapping[str, Tensor], *, on_progress: ProgressCallback
) -> dict[str, Any]:
    """The report's part ``replay``: the members in torch and the rule replayed, against the runtime.

    Args:
        attacked: images by the attack that made them, ``(n, c, h, w)`` in [0, 1].

    Returns:
        ``{images, allowed, disagreements}``: the images of all sets together, how many of them may
        disagree, and those that do, as ``disagreements`` lists them.
    """
    precision = models.deployed.manifest.precision
    total, done, differing = sum(map(len, attacked.values())), 0, []
    for attack, images in attacked.items():
        size = images_at_once(images, BATCH)
        for at in range(0, len(images), size):
            batch = images[at : at + size]
            with torch.no_grad():
                probs = models.ensemble.member_logits(batch).float().softmax(2).cpu().numpy()
            answer = models.deployed(batch.cpu().contiguous().numpy()).labels
            differing += disagreements(attack, probs, answer, models.deployed, first=at)
            done += len(batch)
            on_progress("replay", done, total)
    return {"images": total, "allowed": logit_tolerance(total, precision), "disagreements": differing}


def logit_tolerance(images: int, precision: str = "float32") -> int:
    """Number of disagreements allowed for rounding: one in every full 1,000 images, in int8 in every 200."""
    return images // ALLOWED[precision]


def disagreements(
    attack: str, probs: Floats, answer: NDArray[np.int64], gate: StopRule, *, first: int = 0
) -> list[dict[str, Any]]:
    """Images on which the bundle's label differs from the rule applied to torch's probabilities.

    Args:
        attack: its name, for the list.
        probs: ``(members, n, k)`` float32 by torch.
        answer: ``(n,)`` labels by the bundle.
        first: number of the first image.

    Returns:
        ``{image, attack, torch, bundle, margin}`` each; margin is the probability by which torch's
        answer is away from a tie: within 1e-5 a machine may decide either way.
    """
    ours = replay_stop_rule(probs, gate).labels
    apart = np.flatnonzero(ours != answer)
    if not len(apart):
        return []
    margins = distance_to_tie(probs[:, apart], gate.rule, gate.parameters, max_submodels=gate.max_submodels)
    return [
        {
            "image": first + int(i),
            "attack": attack,
            "torch": int(ours[i]),
            "bundle": int(answer[i]),
            "margin": float(margin),
        }
        for i, margin in zip(apart, margins, strict=True)
    ]
