"""The calibration images, clean and attacked, and what a team answers to them."""

from typing import Protocol

import torch
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.recipe import Gate
from eed_edge.seeds import prefix_seed
from eed_edge.train.data.batches import Images, images_at_once, in_order
from eed_edge.train.data.splits import Split
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.validation import VALIDATION_BATCH

CALIB_IMAGES = 1000
"""Calibration images without ``guarantee``; more would only cost attack time."""


class AnsweringMembers(Protocol):
    """Members that answer images: an ``Ensemble``, or the exported files."""

    def member_logits(self, images: Tensor) -> Tensor:
        """Logits of every member, ``(members, n, k)``."""


def calib_images(calib: Split, cfg: Gate) -> Images:
    """Return the calibration images: the first 1,000, or with ``guarantee`` all, which tightens the bound."""
    limit = None if cfg.guarantee else CALIB_IMAGES
    return Images(torch.from_numpy(calib.images[:limit].copy()), torch.from_numpy(calib.labels[:limit]))


def attack_prefixes(ensemble: Ensemble, images: Images, run: Run) -> list[Tensor]:
    """Attack the images by PGD against the mean of each prefix; return one ``(n, c, h, w)`` per prefix.

    A run without attacks gives none.
    """
    if not run.recipe.attacked:
        return []
    eps, attack = run.recipe.base.eps_255 / 255, PGD(steps=run.recipe.gate.steps)
    attacked, size = [], images_at_once(images.images, VALIDATION_BATCH)
    for length in range(1, len(ensemble.members) + 1):
        prefix = ensemble.prefix(length)
        threat = Threat(eps, generator=torch.Generator().manual_seed(prefix_seed(run.recipe.seed, length)))
        parts = [attack(prefix, batch, labels, threat) for batch, labels in in_order(images, size)]
        attacked.append(torch.cat(parts))
    return attacked


def member_probs(members: AnsweringMembers, images: Tensor) -> Floats:
    """Return every member's probabilities, ``(members, n, k)`` float32."""
    size = images_at_once(images, VALIDATION_BATCH)
    with torch.no_grad():
        parts = [members.member_logits(batch).float().softmax(2) for batch in torch.split(images, size)]
    probs: Floats = torch.cat(parts, 1).numpy()
    return probs
