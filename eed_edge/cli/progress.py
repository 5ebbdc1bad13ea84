"""How far long work is: a bar on a terminal, plain lines elsewhere.

Of several processes that torchrun has started, the first one alone speaks.
"""

import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

LINE_EVERY_S = 60.0


class Progress:
    """Takes the records of the training loop and the counts of the evaluation, and shows them."""

    def __init__(self) -> None:
        self.silent = os.environ.get("RANK", "0") != "0"
        self._bar: Any = None
        self._task: Any = None
        self._title = ""
        self._counted = ""
        self._since = self._told = 0.0
        self._from = 0

    def training(self, row: dict[str, Any]) -> None:
        """Show a record of ``loop.fit``: a batch moves the bar, an epoch leaves a line."""
        title = " ".join(filter(None, (row["stage"], row.get("part"))))
        if "batch" in row:
            done = row["epoch"] * row["batches"] + row["batch"]
            self._move(title, done, row["epochs"] * row["batches"])
            return
        last = row["epoch"] + 1 == row["epochs"]
        if row["stage"] == "pool" and not last:
            return  # a line a candidate is enough; log.jsonl has every epoch
        loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""  # none without training
        self.say(
            f"{title:<12} epoch {row['epoch'] + 1}/{row['epochs']}{loss}"
            f"  tune clean {row['clean']:.3f} attacked {row['attacked']:.3f}  {row['seconds']:.1f} s"
        )
        if "guard" in row:
            self.say(f"{title}: {row['guard']}")

    def counting(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; without a bar, a line a minute with the time left."""
        now = time.monotonic()
        if what != self._counted:
            self._counted, self._since, self._told, self._from = what, now, now, done - 1
        self._move(what, done, total)
        if done >= total:
            self.say(f"{what}: done")
        elif self._bar is None and now - self._told >= LINE_EVERY_S:
            self._told = now
            left = (now - self._since) * (total - done) / max(1, done - self._from)
            self.say(f"{what}: {done} of {total}, about {math.ceil(left / 60)} min left")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.silent:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            click.echo(text)

    def _move(self, title: str, done: int, total: int) -> None:
        if self._bar is None:
            return
        if title != self._title:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._title, self._task = title, self._bar.add_task(title, total=total)
        self._bar.update(self._task, completed=done)


@contextmanager
def shown() -> Iterator[Progress]:
    """A progress display; log messages of the library appear as lines in it."""
    progress = Progress()
    handler = _Lines(progress)
    log = logging.getLogger("eed_edge")
    log.addHandler(handler)
    before = log.level
    log.setLevel(logging.INFO)
    try:
        if sys.stdout.isatty() and not progress.silent:
            from rich.progress import Progress as Bar

            with Bar(transient=True) as bar:
                progress._bar = bar
                yield progress
        else:
            yield progress
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Lines(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.say(record.getMessage())
