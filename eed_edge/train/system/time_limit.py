"""Working in slices: how long this sitting may last, and stopping at a checkpoint when it is over."""

import math
import time


class Paused(Exception):  # noqa: N818 - nothing went wrong
    """Training stopped at a checkpoint because its time was up; the text says where."""


class TimeLimit:
    """The end of this sitting; it counts only once some training has been done in it."""

    def __init__(self, minutes: float | None = None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._progress = False

    def record_progress(self) -> None:
        """Something is done that the next sitting need not do again."""
        self._progress = True

    def expired(self) -> bool:
        """Whether it is time to stop; never before there was progress."""
        return self._progress and time.monotonic() >= self._end

    def raise_if_expired(self, where: str) -> None:
        """Stop before ``where`` if it is time.

        Raises:
            Paused: it is.
        """
        if self.expired():
            raise Paused(f"time is up before {where}")
