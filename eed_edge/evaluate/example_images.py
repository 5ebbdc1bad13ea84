"""Images that are stored and analysed further, and examples: early exit or not, misclassified or not."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Bools
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import Split

STORED_IMAGES = 1000
"""Test images stored in the run folder for ``bench``, independent of how many were attacked, so that the
mean number of sub-models used is precise. Also the number of images in the further analyses."""
STORED_VALUES = 50_000_000
"""Of large pictures only so many are kept that their values, as float32, take 200 MB."""


def stored_count(images: Split | Images) -> int:
    """The most images that are stored for ``bench`` and the further analyses."""
    return min(STORED_IMAGES, STORED_VALUES // int(images.images[0].nbytes))


def examples(
    models: ModelsCompared, clean: Tensor, attacked: Tensor, labels: NDArray[np.int64], *, count: int = 12
) -> dict[str, NDArray[Any]]:
    """Select example images and return the ``strip_*`` arrays of ``evaluation.npz``.

    Images that are correct when clean are grouped by whether they stop at the first sub-model and whether
    the attack succeeds. The first images of each of the four groups are taken in equal numbers, as far
    as available, so that none is selected by appearance.

    Args:
        clean, attacked: the same images, ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)`` true classes.
        count: number of examples, fewer if not available.

    Returns:
        Arrays by name, ordered by group; shapes as in docs/REPORT.md.
    """
    deployed = models.deployed
    before, after = (images.cpu().contiguous().numpy() for images in (clean, attacked))
    answers = deployed(before), deployed(after)
    right, fooled = answers[0].labels == labels, answers[1].labels != labels
    early = answers[0].submodels_used == 1
    kinds = [
        right & early & fooled,
        right & early & ~fooled,
        right & ~early & fooled,
        right & ~early & ~fooled,
    ]
    shown = _shared_out([*kinds, ~right], count)
    strip: dict[str, NDArray[Any]] = {"labels": labels[shown]}
    for name, images, answer in (("clean", before, answers[0]), ("attacked", after, answers[1])):
        strip[name] = images[shown].transpose(0, 2, 3, 1)  # (s, h, w, c)
        strip[f"said_{name}"] = deployed.member_probs(np.ascontiguousarray(images[shown])).argmax(2).T
        strip[f"answer_{name}"] = answer.labels[shown]
        strip[f"used_{name}"] = answer.submodels_used[shown]
    return {f"strip_{name}": array for name, array in strip.items()}


def _shared_out(kinds: list[Bools], count: int) -> NDArray[np.int64]:
    """Take ``count`` indices from the groups in turn; the last group only fills up."""
    *shared, rest = (np.flatnonzero(kind).tolist() for kind in kinds)
    taken: list[list[int]] = [[] for _ in shared]
    while sum(map(len, taken)) < count and any(shared):
        for kind, group in zip(shared, taken, strict=True):
            if kind and sum(map(len, taken)) < count:
                group.append(kind.pop(0))
    together = [index for group in taken for index in group]
    return np.array(together + rest[: count - len(together)], np.int64)
