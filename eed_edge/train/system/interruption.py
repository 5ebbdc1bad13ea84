"""Termination signals (SIGINT, SIGTERM, SIGHUP), deferred until a checkpoint can be written.

Only ``handled`` installs handlers; without it, signals keep their default effect.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
REPEATED_AFTER_S = 2.0
"""Signals within this time count as one: torchrun forwards what the terminal has sent already."""


class Interrupted(BaseException):
    """A signal asked the process to end."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"stopped by {signal.Signals(signum).name}")

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


class _Received:
    """Signal received by this process: its time, whether it is pending, and whether it is deferred."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.pending: int | None = None
        self.deferrals = 0

    def receive(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.since is None:
            self.since, self.pending = now, signum
        elif now - self.since > REPEATED_AFTER_S:  # end at once, without a checkpoint
            raise SystemExit(128 + signum)
        if self.deferrals == 0:
            self.raise_pending()

    def raise_pending(self) -> None:
        if (signum := acknowledge()) is not None:
            raise Interrupted(signum)


_received = _Received()


@contextmanager
def handled() -> Iterator[None]:
    """Turn the signals into ``Interrupted``, raised once; ignored ones, as under ``nohup``, stay ignored."""
    previous = {}
    _received.__init__()  # type: ignore[misc]
    for name in SIGNALS:
        signum = getattr(signal, name, None)  # Windows has no SIGHUP
        if signum is not None and signal.getsignal(signum) != signal.SIG_IGN:
            previous[signum] = signal.signal(signum, _received.receive)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals until the end of the block; may be nested.

    Raises:
        Interrupted: a signal has arrived in the meantime.
    """
    _received.deferrals += 1
    try:
        yield
    finally:
        _received.deferrals -= 1
    if _received.deferrals == 0:
        _received.raise_pending()


@contextmanager
def let_through() -> Iterator[None]:
    """Raise ``Interrupted`` immediately on a signal, even inside a deferred block."""
    deferrals, _received.deferrals = _received.deferrals, 0
    try:
        _received.raise_pending()
        yield
    finally:
        _received.deferrals = deferrals


def acknowledge() -> int | None:
    """Return and clear the pending signal; None without one."""
    signum, _received.pending = _received.pending, None
    return signum
