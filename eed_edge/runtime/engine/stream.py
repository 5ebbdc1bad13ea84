"""Streaming inference: one prediction per item of an iterable, in constant memory."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, Protocol

import numpy as np

from eed_edge.arguments import short_repr
from eed_edge.errors import InputError
from eed_edge.manifest import Manifest
from eed_edge.runtime.engine.accepted_images import FLOAT32, ImagesLike
from eed_edge.runtime.engine.prediction import Prediction


class Network(Protocol):
    """A loaded bundle, in whichever form."""

    manifest: Manifest

    def __call__(self, images: ImagesLike, /) -> Prediction:
        """Classify images."""


def predict_stream(net: Network, items: Iterable[ImagesLike]) -> Iterator[Prediction]:
    """Classify items lazily, one by one; see ``Cascade.predict_stream``."""
    return _answers(net, iterator_of(items))


def _answers(net: Network, items: Iterator[ImagesLike]) -> Iterator[Prediction]:
    numbers = count()  # not enumerate, whose tuple keeps the last item alive
    for item in items:
        index = next(numbers)
        try:
            prediction = net(as_batch(item, net.manifest))
        except InputError as error:
            raise InputError(f"item {index} of the stream: {error}") from error
        del item  # free it before the next item arrives
        yield prediction


def iterator_of(items: Iterable[ImagesLike]) -> Iterator[ImagesLike]:
    """Return an iterator over images or batches.

    Raises:
        InputError: ``items`` cannot be iterated over.
    """
    try:
        return iter(items)
    except TypeError as error:
        raise InputError(
            f"expected items, a generator or list of images or batches, got {short_repr(items)};"
            " put a single one into a list"
        ) from error


def as_batch(item: Any, manifest: Manifest) -> Any:
    """Add a batch axis to a single float image of the networks' size, which then takes the fast path."""
    single = isinstance(item, np.ndarray) and item.shape == manifest.input.size and item.dtype == FLOAT32
    return item[None] if single else item
