"""Upper bounds of sizes that may grow with the number of images, and tensors described by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FLOAT, UINT8, INT8, INT32, INT64, BOOL, DOUBLE = 1, 2, 3, 6, 7, 9, 11
ITEM_BYTES = {FLOAT: 4, UINT8: 1, INT8: 1, INT32: 4, INT64: 8, BOOL: 1, DOUBLE: 8}
"""Bytes of an element, by the number that ONNX gives to its type; no other types are allowed."""
MOST_AXES = 8
MOST_VALUES = 64  # elements of an integer tensor whose values are followed, such as a shape


class Size(NamedTuple):
    """At most ``factor * n**power`` for n images, n at least 1; exactly that if ``exact``."""

    factor: int
    power: int = 0
    exact: bool = True


ONE = Size(1)
Shape = tuple[Size, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor that the graph computes or holds.

    kind: element type, a key of ``ITEM_BYTES``.
    values: of a small integer tensor with at most one axis, if they are known.
    scales: of a small constant float tensor with at most one axis.
    constant: it depends on no image.
    """

    kind: int
    shape: Shape
    values: Shape | None = None
    scales: tuple[float, ...] | None = None
    constant: bool = False


def product(sizes: Iterable[Size]) -> Size:
    """Multiply sizes; a size of 0 counts as 1, so that it hides no other."""
    factor, power, exact = 1, 0, True
    for size in sizes:
        factor *= max(size[0], 1)
        power += size[1]
        exact = exact and size[2] and size[0] > 0
    return Size(factor, power, exact)


def elements(shape: Shape) -> Size:
    """Return the number of elements of a tensor, checked to grow at most in proportion to the images.

    Raises:
        ValueError: too many axes, or it grows faster.
    """
    if len(shape) > MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes, got {len(shape)}")
    size = product(shape)
    if size.power > 1:
        raise ValueError(
            f"expected tensors in proportion to the images, got one that grows with their power {size.power}"
        )
    return size


def larger(left: Size, right: Size) -> Size:
    """Return a bound of both."""
    if left == right:
        return left
    return Size(max(left.factor, right.factor), max(left.power, right.power), exact=False)


def total(sizes: Sequence[Size]) -> Size:
    """Add sizes; with several powers, the sum of the counts times the largest power is an upper bound."""
    powers = {size.power for size in sizes if size.factor}
    return Size(
        sum(size.factor for size in sizes),
        max(powers, default=0),
        len(powers) < 2 and all(size.exact for size in sizes),
    )


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an element-wise result, by numpy's rules; the runtime refuses a mismatch."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    axes = max(map(len, shapes))
    padded = [(ONE,) * (axes - len(shape)) + shape for shape in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        size = ONE
        for other in sizes:
            size = other if size == ONE else size if other == ONE else larger(size, other)
        result.append(size)
    return tuple(result)


def known(tensor: Tensor, what: str) -> Shape:
    """Return the values of an integer tensor.

    Raises:
        ValueError: they are not known before running.
    """
    if tensor.values is None:
        raise ValueError(f"expected {what} known before running, got one that is computed")
    return tensor.values


def constants(tensor: Tensor, what: str) -> list[int]:
    """Return the values of an integer tensor that do not depend on the images.

    Raises:
        ValueError: they do, or are not known.
    """
    values = known(tensor, what)
    if any(value.power or not value.exact for value in values):
        raise ValueError(f"expected {what} the same for any number of images, got one that depends on it")
    return [value.factor for value in values]


def axis_of(axis: int, axes: int) -> int:
    """Return an axis counted from 0.

    Raises:
        ValueError: there is no such axis.
    """
    if not -axes <= axis < axes:
        raise ValueError(f"expected an axis from {-axes} to {axes - 1}, got {axis}")
    return axis % axes
