"""Duplicate pictures between the parts of a data set: equal bytes, and nearly equal pixels.

Two pictures are nearly equal if, as they are or mirrored, their pixels correlate at ``NEAR_CORRELATION`` or
more and differ by ``NEAR_DIFFERENCE`` or less once each channel's mean is subtracted: another brightness or
compression does not hide a copy. Only pairs whose 4 x 4 block means are close are compared pixel by pixel.
Copies that are shifted by pixels or strongly retouched are not in the count.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints, Uint8
from eed_edge.errors import DeviceError, how_to_install

NEAR_CORRELATION = 0.95
NEAR_DIFFERENCE = 8.0
"""Mean absolute difference of pixels in 0 to 255; four of scikit-learn's 1,797 digits are as close."""
BLOCKS = 4
HASH_DISTANCE = 0.12
"""Distance of two unit vectors of block means up to which their pictures are compared."""
COMPARED_AT_ONCE = 2000
COMPARED_VALUES = COMPARED_AT_ONCE * 3 * 32 * 32
"""Values of the pictures that are compared pixel by pixel at a time."""

DuplicateCounts = dict[str, dict[str, int]]
"""``{"train and tune": {exact, near}, …}``: pictures of the second part that the first has, too."""


def count_duplicates(parts: Mapping[str, Uint8]) -> DuplicateCounts:
    """Count the pictures of each part that have a duplicate in a part before it.

    Args:
        parts: images ``(n, c, h, w)`` by the part's name.

    Returns:
        For every pair of parts, ``exact``: pictures of the second with equal bytes in the first; ``near``:
        further ones that are nearly equal to one of the first.

    Raises:
        DeviceError: SciPy is not installed.
    """
    prints = {name: block_means(images) for name, images in parts.items()}
    counts = {}
    for first, second in itertools.combinations(parts, 2):
        exact = exact_duplicates(parts[first], parts[second])
        near = near_duplicates(parts[first], parts[second], prints[first], prints[second]) & ~exact
        counts[f"{first} and {second}"] = {"exact": int(exact.sum()), "near": int(near.sum())}
    return counts


def duplicates_line(counts: DuplicateCounts) -> str:
    """The counts in one line."""
    each = [f"{pair} {row['exact']} equal, {row['near']} nearly" for pair, row in counts.items()]
    return f"duplicate pictures: {'; '.join(each)}"


def exact_duplicates(first: Uint8, second: Uint8) -> Bools:
    """Which pictures of ``second`` have equal bytes in ``first``, ``(n,)`` bool."""
    known = {_digest(image) for image in first}
    return np.array([_digest(image) in known for image in second], np.bool_)


def _digest(image: Uint8) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def near_duplicates(first: Uint8, second: Uint8, first_means: Floats, second_means: Floats) -> Bools:
    """Which pictures of ``second`` are nearly equal to one of ``first``, as they are or mirrored."""
    near = np.zeros(len(second), np.bool_)
    for mirrored in (False, True):
        shown = second[..., ::-1] if mirrored else second
        means = second_means.reshape(-1, BLOCKS, BLOCKS)[..., :: -1 if mirrored else 1].reshape(-1, BLOCKS**2)
        at_once = max(1, COMPARED_VALUES // first[0].size)
        for rows, partners in _candidates(first_means, means, at_once):
            alike = _nearly_equal(_centred_pixels(first[partners]), _centred_pixels(shown[rows]))
            near[rows[alike]] = True
    return near


def block_means(images: Uint8) -> Floats:
    """Unit vectors of the 4 x 4 block means of grey pictures less their mean, ``(n, 16)``; 0 if flat."""
    height, width = images.shape[2:]
    starts = [np.arange(BLOCKS) * size // BLOCKS for size in (height, width)]
    sizes = [np.diff([*start, size]) for start, size in zip(starts, (height, width), strict=True)]
    means = np.empty((len(images), BLOCKS**2), np.float32)
    for at in range(0, len(images), COMPARED_AT_ONCE):
        grey = images[at : at + COMPARED_AT_ONCE].mean(axis=1, dtype=np.float32)  # (n, h, w)
        sums = np.add.reduceat(np.add.reduceat(grey, starts[0], axis=1), starts[1], axis=2)
        means[at : at + COMPARED_AT_ONCE] = (sums / np.outer(*sizes)).reshape(len(grey), -1)
    return _unit(means - means.mean(1, keepdims=True))


def _candidates(first: Floats, second: Floats, at_once: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows of ``second`` and ``first`` whose vectors are close, ``at_once`` pairs at a time."""
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise DeviceError(f"expected SciPy, which finds near pictures; {how_to_install('train')}") from error
    here, there = (np.flatnonzero(np.abs(means).sum(1) > 0) for means in (first, second))
    if not len(here) or not len(there):
        return
    neighbours = KDTree(first[here]).query_ball_point(second[there], HASH_DISTANCE)
    counts = np.array([len(each) for each in neighbours])
    partners = here[np.fromiter(itertools.chain.from_iterable(neighbours), np.int64, counts.sum())]
    rows = np.repeat(there, counts)
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once], partners[start : start + at_once]


def _nearly_equal(first: Floats, second: Floats) -> Bools:
    """Whether the pictures of each pair are nearly equal, from their centred pixels ``(n, values)``."""
    correlation = (_unit(first) * _unit(second)).sum(1)
    close = np.abs(first - second).mean(1) <= NEAR_DIFFERENCE
    both: Bools = np.logical_and(close, correlation >= NEAR_CORRELATION)
    return both


def _centred_pixels(images: Uint8) -> Floats:
    """Pixels less the mean of their channel, ``(n, c * h * w)``."""
    pixels = images.astype(np.float32)
    pixels -= pixels.mean(axis=(2, 3), keepdims=True)
    return pixels.reshape(len(images), -1)


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1; those shorter than 0.001 become 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-3)
    return unit
