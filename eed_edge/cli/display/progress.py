"""Progress of long-running work: a bar on a terminal, plain lines elsewhere.

Under torchrun only the process of rank 0 prints.
"""

import contextlib
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eed_edge.cli.display.output import is_terminal, print_notice
from eed_edge.printable import printable_lines

LINE_EVERY_S = 60.0


class Progress:
    """Progress display for records of the training loop and step counts of the evaluation."""

    def __init__(self) -> None:
        self.silent = os.environ.get("RANK", "0") != "0"
        self._bar: Any = None
        self._task: Any = None
        self._work: _Work | None = None
        self._lock = threading.RLock()

    def training(self, row: dict[str, Any]) -> None:
        """Show a record of ``loop.fit``: a batch moves the bar, an epoch leaves a line."""
        title = " ".join(filter(None, (row["stage"], row.get("part"), row.get("phase"))))
        if "batch" in row:
            done = row["epoch"] * row["batches"] + row["batch"]
            self._move(
                title, done, row["epochs"] * row["batches"], f"epoch {row['epoch'] + 1}/{row['epochs']}"
            )
            return
        last = row["epoch"] + 1 == row["epochs"]
        if row["stage"] == "pool" and not last:
            return  # one line per candidate; log.jsonl has every epoch
        loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""  # none before training
        attacked = f" attacked {row['attacked']:.3f}" if "attacked" in row else ""
        self.print_line(
            f"{title:<12} epoch {row['epoch'] + 1}/{row['epochs']}{loss}"
            f"  tune clean {row['clean']:.3f}{attacked}  {row['seconds']:.1f} s"
        )
        if "guard" in row:
            self.print_line(f"{title}: {row['guard']}")

    def counting(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done."""
        self._move(what, done, total)
        if done >= total:
            self.print_line(f"{what}: done")
            self._work = None

    def remind(self) -> None:
        """Print a line a minute with the time left when there is no bar, even if no record arrives."""
        with self._lock:
            work = self._work
            if work is not None and self._bar is None and time.monotonic() - work.shown >= LINE_EVERY_S:
                work.shown = time.monotonic()
                self.print_line(work.line())

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        if self.silent:
            return
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.console.print(printable_lines(text), highlight=False, markup=False)
        else:
            print_notice(text, err=False)

    def _move(self, title: str, done: int, total: int, detail: str = "") -> None:
        with self._lock:
            now = time.monotonic()
            if self._work is None or self._work.title != title:
                self._work = _Work(title, total, first=done - 1, since=now, shown=now)
                if self._bar is not None:
                    if self._task is not None:
                        self._bar.remove_task(self._task)
                    self._task = self._bar.add_task(title, total=total)
            self._work.done, self._work.total, self._work.detail = done, total, detail
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=total)
            else:
                self.remind()


@dataclass
class _Work:
    """A task in progress.

    first: steps already done when it started in this process.
    since, shown: times of its start and of its last printed line, in seconds.
    """

    title: str
    total: int
    first: int
    since: float
    shown: float
    done: int = 0
    detail: str = ""

    def line(self) -> str:
        """Steps done and the time left at the speed so far."""
        left = (time.monotonic() - self.since) * (self.total - self.done) / max(1, self.done - self.first)
        where = f"{self.title}: {', '.join(filter(None, (self.detail, f'{self.done} of {self.total}')))}"
        return f"{where}, " + (f"about {math.ceil(left / 60)} min left" if left else "finishing")


def _remind_until(progress: Progress, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        progress.remind()


@contextmanager
def progress_display() -> Iterator[Progress]:
    """A progress display; log messages of the library appear as lines in it."""
    progress, ended = Progress(), threading.Event()
    reminder = threading.Thread(target=_remind_until, args=(progress, ended), daemon=True)
    handler = _Lines(progress)
    log = logging.getLogger("eed_edge")
    log.addHandler(handler)
    before = log.level
    log.setLevel(logging.INFO)
    try:
        if is_terminal(sys.stdout) and not progress.silent:
            from rich.progress import Progress as Bar

            with Bar(transient=True) as bar:
                progress._bar = bar
                yield progress
        else:
            reminder.start()
            yield progress
    finally:
        ended.set()
        if reminder.is_alive():
            reminder.join()
        log.removeHandler(handler)
        log.setLevel(before)


class _Lines(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        loud = "warning: " if record.levelno >= logging.WARNING else ""
        self._progress.print_line(f"{loud}{record.getMessage()}")
