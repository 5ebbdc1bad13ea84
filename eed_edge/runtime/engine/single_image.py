"""Per-thread IOBinding buffers for single-image inference.

After a sub-model the CPU caches hold its weights, so each line of Python between two of them is slow.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eed_edge.arrays import Floats
from eed_edge.runtime.engine.accepted_images import ONE
from eed_edge.runtime.engine.session import Session
from eed_edge.runtime.failures import log_failure


class Submodel(NamedTuple):
    """A session and the name of its output, the logits."""

    session: Session
    output: str


class SingleImageRunner:
    """Runs sub-models on one image at a time; belongs to a single thread."""

    def __init__(
        self, submodels: Sequence[Submodel], input_name: str, size: tuple[int, int, int], classes: int
    ) -> None:
        self._image: Floats = np.zeros((1, *size), np.float32)
        self._bits = self._image.reshape(-1).view(np.uint32)
        self._bound: list[tuple[Any, Any, Floats]] = []
        for session, output in submodels:
            logits: Floats = np.zeros((1, classes), np.float32)
            binding = session.io_binding()
            binding.bind_cpu_input(input_name, self._image)
            binding.bind_output(output, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
            self._bound.append((session.run_with_iobinding, binding, logits.reshape(-1)))

    def set_image(self, image: Floats) -> bool:
        """Copy an image ``(1, c, h, w)`` in; False if a pixel may be outside [0, 1] (``in_unit_range``)."""
        self._image[...] = image
        bits = self._bits
        return bits.item(bits.argmax()) <= ONE  # faster than a reduction

    def logits(self, index: int) -> list[float] | None:
        """Return the logits of one sub-model, or None if onnxruntime raises."""
        run, binding, logits = self._bound[index]
        try:
            run(binding)
        except Exception as error:  # of any type: the other sub-models may still answer
            log_failure(index, error)
            return None
        row: list[float] = logits.tolist()
        return row
