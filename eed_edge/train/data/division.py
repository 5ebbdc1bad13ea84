"""Divide images at random into parts, each of which has images of every class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Ints
from eed_edge.errors import DataError

Places = NDArray[np.intp]


def divide(
    labels: Ints,
    shares: dict[str, float],
    rest: str,
    *,
    classes: Sequence[str],
    seed: int | Sequence[int],
    limit: int = 0,
    rest_needs: int = 1,
) -> list[Places]:
    """Divide the places of ``labels`` into a part for each share, and the rest.

    The division is random; where it would leave a part without some class, every class is divided by itself.

    Args:
        labels: ``(n,)`` class of each image.
        shares: part to its share of the images.
        rest: what to call the rest.
        limit: at most this many images in all; 0 takes all.
        rest_needs: images of each class that the rest must have at least.

    Returns:
        The places of each part in random order, the rest last.

    Raises:
        DataError: a class has too few images, or the limit is below what every part needs.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))[: limit or None]
    ends = np.cumsum([max(1, round(share * len(order))) for share in shares.values()], dtype=np.intp)
    parts = list(np.split(order, ends))
    needed = [*(1 for _ in shares), rest_needs]
    if all(_has_all(labels[part], len(classes), count) for part, count in zip(parts, needed, strict=True)):
        return parts
    _check_counts(labels, [*shares, rest], sum(needed), classes, limit)
    return _by_class(labels, list(shares.values()), needed, rng=rng, limit=limit)


def _has_all(labels: Ints, classes: int, count: int) -> bool:
    return int(np.bincount(labels, minlength=classes).min()) >= count


def _check_counts(labels: Ints, parts: list[str], needed: int, classes: Sequence[str], limit: int) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    words = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    if counts.min() < needed:
        short = [f"{classes[i]!r} ({counts[i]})" for i in np.flatnonzero(counts < needed).tolist()]
        more = f" and {len(short) - 3} more" if len(short) > 3 else ""
        raise DataError(
            f"expected {needed} or more images of every class for {words}, got fewer of"
            f" {', '.join(short[:3])}{more}; add images or leave the class out"
        )
    if 0 < limit < needed * len(classes):
        raise DataError(
            f"data.limit: expected {needed * len(classes)} or more, {needed} images of each of"
            f" {len(classes)} classes for {words}, got {limit}; raise it"
        )


def _by_class(
    labels: Ints, shares: list[float], needed: list[int], *, rng: np.random.Generator, limit: int
) -> list[Places]:
    """Divide each class by itself; a limit takes of each what all parts need, and shares out the others."""
    order = rng.permutation(len(labels))
    rank, counts = np.zeros(len(labels), np.int64), np.bincount(labels)
    for label in range(len(counts)):
        of_class = order[labels[order] == label]
        rank[of_class] = np.arange(len(of_class))
    urgency = np.where(rank < sum(needed), 0.0, (rank + 1) / counts[labels])
    taken = order[np.argsort(urgency[order], kind="stable")][: limit or None]
    parts: list[list[Places]] = [[] for _ in needed]
    for label in range(len(counts)):
        of_class = taken[labels[taken] == label]
        sizes = [max(1, round(share * len(of_class))) for share in shares]
        while len(of_class) - sum(sizes) < needed[-1]:
            sizes[int(np.argmax(sizes))] -= 1
        for part, places in zip(parts, np.split(of_class, np.cumsum(sizes, dtype=np.intp)), strict=True):
            part.append(places)
    return [rng.permutation(np.concatenate(part)) for part in parts]
