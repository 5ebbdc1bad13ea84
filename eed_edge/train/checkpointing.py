"""Checkpoint schedule: when a training writes its checkpoint, and when it stops there."""

import time
from collections.abc import Callable

from eed_edge.train.system import interruption
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.system.interruption import Interrupted
from eed_edge.train.system.time_limit import Paused, TimeLimit

EVERY_S = 300.0
"""Seconds between checkpoints inside an epoch."""
BEFORE_VALIDATION_S = 60.0
"""Seconds of unsaved training after which a checkpoint precedes the validation."""
AFTER_EPOCH_S = 5.0
"""Seconds since the last checkpoint after which an epoch ends with one; short epochs share one."""
AGREE_EVERY = 8
"""Batches after which several processes agree on whether to write or to stop."""


class Checkpointing:
    """Writes checkpoints at intervals; stops training there on a signal or at the time limit."""

    def __init__(
        self, save: Callable[[], None], *, time_limit: TimeLimit, processes: Processes = SINGLE_PROCESS
    ) -> None:
        """Use ``save`` to write the checkpoint; all processes call it together."""
        self._save, self._time_limit, self._processes = save, time_limit, processes
        self._saved = time.monotonic()

    def write(self) -> None:
        """Write the checkpoint now."""
        self._save()
        self._saved = time.monotonic()

    def after_batch(self, batch: int, *, where: str) -> None:
        """Write a checkpoint if one is due; stop on a signal or at the time limit, in all processes alike.

        Args:
            batch: number of batches of the epoch done.
            where: position in the training, for messages.

        Raises:
            Interrupted: a process has received a signal; the caller has to write the checkpoint.
            Paused: the time limit has expired; the checkpoint is written.
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
        """Write a checkpoint if much training is unsaved."""
        if self._due(BEFORE_VALIDATION_S):
            self.write()

    def after_epoch(self, epoch: int, *, epochs: int) -> None:
        """Write a checkpoint unless the last one is recent; stop on a signal or at the time limit.

        Args:
            epoch: number of epochs done, of ``epochs``.

        Raises:
            Interrupted: as in ``after_batch``.
            Paused: the time limit has expired before the last epoch; the checkpoint is written.
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
