"""Failures of sub-models: log each one, warn once about NaN, raise when no sub-model is left.

A failed sub-model is left out of the mean; an image is lost only when every sub-model failed for it.
"""

import logging

from eed_edge.errors import InferenceError

logger = logging.getLogger(__name__)


class WarnOnce:
    """Warn the first time a sub-model returns NaN or infinity, not for every image. Thread-safe."""

    def __init__(self) -> None:
        self._warned: set[int] = set()

    def __call__(self, index: int) -> None:
        if index not in self._warned:
            self._warned.add(index)
            logger.warning(
                "sub-model %d is left out: it gave NaN or infinity for an image; logged this once", index
            )


def log_failure(index: int, error: Exception) -> None:
    """Log the exception that sub-model ``index`` raised."""
    logger.warning("sub-model %d is left out: %s", index, " ".join(str(error).split()))


def all_failed_error(submodels: int, unanswered: int, images: int) -> InferenceError:
    """Return the error to raise when all ``submodels`` failed for ``unanswered`` of ``images``."""
    return InferenceError(
        f"expected an answer for every image, but all {submodels} sub-models failed for {unanswered} of"
        f" {images}; check the images or allow more sub-models"
    )
