"""Always answer the newest frame of a source; frames that arrive meanwhile are dropped and counted.

A camera gives frames at its own rate. Answered in turn, a network that is slower falls behind without end;
here a thread takes every frame as it comes and keeps the last one alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic
from typing import Any

from eed_edge.errors import InputError
from eed_edge.runtime.engine.accepted_images import ImagesLike
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.engine.stream import Network, as_batch, iterator_of


@dataclass(frozen=True, eq=False)
class LatestAnswer:
    """The answer for one frame of a source.

    prediction: of the frame.
    frame: its number in the source, from 0; numbers that are left out are frames that were dropped.
    dropped: frames that were dropped since the answer before.
    arrived_s, answered_s: when the source gave it, and when it was answered, by ``time.monotonic``.
    """

    prediction: Prediction
    frame: int
    dropped: int
    arrived_s: float
    answered_s: float


def predict_latest(net: Network, source: Iterable[ImagesLike]) -> Iterator[LatestAnswer]:
    """Answer the newest frame again and again; see ``Cascade.predict_latest``."""
    return _answers(net, iterator_of(source))


def _answers(net: Network, source: Iterator[ImagesLike]) -> Iterator[LatestAnswer]:
    newest = _Newest()
    Thread(target=newest.read, args=(source,), name="eed-edge frames", daemon=True).start()
    previous = -1
    try:
        while (taken := newest.take()) is not None:
            frame, number, arrived_s = taken
            try:
                if getattr(frame, "ndim", 3) > 3 and len(frame) != 1:
                    raise InputError(f"expected one image, got {len(frame)}")
                prediction = net(as_batch(frame, net.manifest))
            except InputError as error:
                raise InputError(f"frame {number} of the source: {error}") from error
            dropped, previous = number - previous - 1, number
            del frame, taken  # free it while the caller works
            yield LatestAnswer(prediction, number, dropped, arrived_s, monotonic())
    finally:
        newest.close()


class _Newest:
    """The last frame that arrived and has not been taken; one thread reads, another takes."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._frame: tuple[Any, int, float] | None = None
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def read(self, source: Iterator[ImagesLike]) -> None:
        """Take frames from ``source`` until it ends, raises or the answers are closed."""
        number, error = 0, None
        try:
            for frame in source:
                with self._changed:
                    if self._closed:
                        return
                    self._frame = frame, number, monotonic()
                    self._changed.notify()
                del frame
                number += 1
        except BaseException as raised:  # raised in the thread that asks for answers
            error = raised
        finally:
            with self._changed:
                self._ended, self._error = True, error
                self._changed.notify()

    def take(self) -> tuple[Any, int, float] | None:
        """Wait for a frame that is newer than the last one taken; None when the source has ended.

        Raises:
            BaseException: what the source raised, after its last frame was taken.
        """
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait()
            taken, self._frame = self._frame, None
            if taken is None and self._error is not None:
                raise self._error
            return taken

    def close(self) -> None:
        """Let the reading thread end with the next frame of its source."""
        with self._changed:
            self._closed, self._frame = True, None
