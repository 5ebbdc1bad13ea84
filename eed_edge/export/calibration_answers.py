"""The members' answers on the calibration images, clean and under attacks on every prefix."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.export.calibration import MemberProbs
from eed_edge.seeds import prefix_seed
from eed_edge.train.data.batches import Images, as_float, images_at_once, in_order
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.validation import VALIDATION_BATCH

COMPARED_IMAGES = 1000
"""Images of up to 32 x 32 pixels of each version that are kept to compare the bundle with torch."""


def calibration_answers(ensemble: Ensemble, images: Images, run: Run) -> tuple[MemberProbs, list[Tensor]]:
    """The members' probabilities on all versions of the images, and the images of each to compare with torch.

    Of pictures above 32 x 32 pixels, fewer are compared, to save memory.
    """
    probs, compared = [], []
    for pixels in itertools.chain([as_float(images.images)], attack_prefixes(ensemble, images, run)):
        probs.append(member_probs(ensemble, pixels))
        compared.append(pixels[: images_at_once(pixels, COMPARED_IMAGES)].clone())
    return MemberProbs(clean=probs[0], attacked=tuple(probs[1:]), labels=images.labels.numpy()), compared


def attack_prefixes(ensemble: Ensemble, images: Images, run: Run) -> Iterator[Tensor]:
    """Attack the images by PGD against the mean of each prefix; yield one ``(n, c, h, w)`` per prefix.

    A run without attacks gives none.
    """
    if not run.recipe.attacked:
        return
    eps, attack = run.recipe.base.eps_255 / 255, PGD(steps=run.recipe.gate.steps)
    size = images_at_once(images.images, VALIDATION_BATCH)
    for length in range(1, len(ensemble.members) + 1):
        prefix = ensemble.prefix(length)
        threat = Threat(eps, generator=torch.Generator().manual_seed(prefix_seed(run.recipe.seed, length)))
        parts = [attack(prefix, batch, labels, threat) for batch, labels in in_order(images, size)]
        yield torch.cat(parts)


def member_probs(ensemble: Ensemble, images: Tensor) -> Floats:
    """Return every member's probabilities, ``(members, n, k)`` float32."""
    size = images_at_once(images, VALIDATION_BATCH)
    with torch.no_grad():
        parts = [ensemble.member_logits(batch).float().softmax(2) for batch in torch.split(images, size)]
    probs: Floats = torch.cat(parts, 1).numpy()
    return probs
