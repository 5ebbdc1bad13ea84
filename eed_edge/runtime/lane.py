"""Buffers of one thread, bound to every session once: one image then costs a copy and the bare runs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eed_edge.runtime.session import Session
from eed_edge.runtime.walk import Floats


class Submodel(NamedTuple):
    """A session and the name of its output, the logits."""

    session: Session
    output: str


class Lane:
    """One image at a time, one thread only."""

    def __init__(
        self, submodels: Sequence[Submodel], input_name: str, size: tuple[int, int, int], classes: int
    ) -> None:
        self.image: Floats = np.zeros((1, *size), np.float32)
        self._places: list[tuple[Session, Any, Floats]] = []
        for session, output in submodels:
            logits: Floats = np.zeros((1, classes), np.float32)
            binding = session.io_binding()
            binding.bind_cpu_input(input_name, self.image)
            binding.bind_output(output, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
            self._places.append((session, binding, logits))

    def logits(self, index: int) -> list[float]:
        """What sub-model ``index`` says of ``image``; raises whatever onnxruntime does."""
        session, binding, logits = self._places[index]
        session.run_with_iobinding(binding)
        row: list[float] = logits.tolist()[0]
        return row
