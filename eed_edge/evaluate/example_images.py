"""A strip of real images that shows what the deployed rule does: stopping early or not, fooled or not."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Bools
from eed_edge.evaluate.models_compared import ModelsCompared


def examples(
    defences: ModelsCompared, clean: Tensor, attacked: Tensor, labels: NDArray[np.int64], *, count: int = 12
) -> dict[str, NDArray[Any]]:
    """The ``strip_*`` arrays of ``evaluation.npz``.

    Of the images that are right when clean, equally many (as far as there are any) stop at the first
    sub-model and are fooled, stop there and are not, need more and are fooled, need more and are not;
    within each kind the first ones are taken, so nothing is picked by its looks.

    Args:
        clean, attacked: the same images, ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)`` true classes.
        count: images of the strip, fewer if there are not as many.

    Returns:
        Arrays by name, the kinds one after the other; shapes as in docs/REPORT.md.
    """
    deployed = defences.deployed
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
    chosen = _shared_out([*kinds, ~right], count)
    strip: dict[str, NDArray[Any]] = {"labels": labels[chosen]}
    for name, images, answer in (("clean", before, answers[0]), ("attacked", after, answers[1])):
        strip[name] = images[chosen].transpose(0, 2, 3, 1)  # (s, h, w, c)
        strip[f"said_{name}"] = deployed.member_probs(np.ascontiguousarray(images[chosen])).argmax(2).T
        strip[f"answer_{name}"] = answer.labels[chosen]
        strip[f"used_{name}"] = answer.submodels_used[chosen]
    return {f"strip_{name}": array for name, array in strip.items()}


def _shared_out(kinds: list[Bools], count: int) -> NDArray[np.int64]:
    """Indices taken from the kinds in turn until there are ``count``; the last kind only fills up."""
    *shared, rest = (np.flatnonzero(kind).tolist() for kind in kinds)
    taken: list[list[int]] = [[] for _ in shared]
    while sum(map(len, taken)) < count and any(shared):
        for kind, own in zip(shared, taken, strict=True):
            if kind and sum(map(len, taken)) < count:
                own.append(kind.pop(0))
    together = [index for own in taken for index in own]
    return np.array(together + rest[: count - len(together)], np.int64)
