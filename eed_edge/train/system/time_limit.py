"""Wall-clock time limit of one call, after which training pauses at a checkpoint."""

import math
import time


class Paused(Exception):  # noqa: N818 - not an error
    """Training stopped at a checkpoint because the time limit had expired; the text names the place."""


class TimeLimit:
    """Wall-clock limit; never expires before the first checkpoint of this call."""

    def __init__(self, minutes: float | None = None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._progress = False

    def record_progress(self) -> None:
        """Note that a checkpoint or a result has been written in this call."""
        self._progress = True

    def expired(self) -> bool:
        """Whether the limit is reached; always False before the first progress."""
        return self._progress and time.monotonic() >= self._end

    def raise_if_expired(self, where: str) -> None:
        """Pause before ``where`` if the limit has expired.

        Raises:
            Paused: it has.
        """
        if self.expired():
            raise Paused(f"time is up before {where}")
