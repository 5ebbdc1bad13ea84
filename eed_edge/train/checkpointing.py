"""When training under way writes its checkpoint, and when it stops there."""

import time
from collections.abc import Callable

from eed_edge.train.system import interruption
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.system.interruption import Interrupted
from eed_edge.train.system.time_limit import Paused, TimeLimit

EVERY_S = 300.0
"""Inside an epoch."""
BEFORE_VALIDATION_S = 60.0
"""Before validation, when so much training would be lost."""
AFTER_EPOCH_S = 5.0
"""After an epoch; shorter ones share a checkpoint."""
AGREE_EVERY = 8
"""Batches after which several processes agree on whether to write or to stop."""


class Checkpointing:
    """Writes checkpoints at intervals; stops training there on a signal or at the time limit."""

    def __init__(
        self, save: Callable[[], None], *, time_limit: TimeLimit, processes: Processes = SINGLE_PROCESS
    ) -> None:
        """``save`` writes the checkpoint; all processes call it together."""
        self._save, self._time_limit, self._processes = save, time_limit, processes
        self._saved = time.monotonic()

    def write(self) -> None:
        """Write the checkpoint now."""
        self._save()
        self._saved = time.monotonic()

    def after_batch(self, batch: int, *, where: str) -> None:
        """Look at the clock and at signals; whatever is to be done is done by all processes.

        Args:
            batch: how many batches of the epoch are done.
            where: the place in the training, for messages.

        Raises:
            Interrupted: a signal has come to one of the processes; the checkpoint is still to be written.
            Paused: the time limit is over; the checkpoint is written.
        """
        if self._processes.size > 1 and batch % AGREE_EVERY:
            return
        self._raise_if_interrupted()
        if due := self._due(EVERY_S):
            self.write()
            self._time_limit.record_progress()
        if self._processes.any(self._time_limit.expired()):
            if not due:
                self.write()
            raise Paused(f"time is up {where}")

    def before_validation(self) -> None:
        """Write a checkpoint if much training would be lost."""
        if self._due(BEFORE_VALIDATION_S):
            self.write()

    def after_epoch(self, epoch: int, *, epochs: int) -> None:
        """Write a checkpoint unless the last one is very young.

        Args:
            epoch: how many of all ``epochs`` are done.

        Raises:
            Interrupted: as in ``after_batch``.
            Paused: the time limit is over and epochs are left; the checkpoint is written.
        """
        self._raise_if_interrupted()
        self._time_limit.record_progress()
        paused = self._processes.any(self._time_limit.expired()) and epoch < epochs
        if paused or self._due(AFTER_EPOCH_S):
            self.write()
        if paused:
            raise Paused(f"time is up after epoch {epoch} of {epochs}")

    def _due(self, seconds: float) -> bool:
        return self._processes.any(time.monotonic() - self._saved > seconds)

    def _raise_if_interrupted(self) -> None:
        signals = [signum for signum in self._processes.all_gather(interruption.acknowledge()) if signum]
        if signals:
            raise Interrupted(signals[0])
