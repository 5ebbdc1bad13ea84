"""What every stage of one call works with: the run, its images, who watches, who shares the work."""

from dataclasses import dataclass

import torch

from eed_edge.train.data.batches import Images
from eed_edge.train.run_folder import Run
from eed_edge.train.system.distributed import Processes
from eed_edge.train.system.epoch_log import Log, Watch
from eed_edge.train.system.time_limit import Deadline, Paused


@dataclass(frozen=True)
class Sitting:
    """One call of ``train``.

    journal: this process's log; the first one's is ``log.jsonl``.
    watch: told of every batch and epoch.
    compact: keep finished networks of base and pool in half precision.
    """

    run: Run
    train: Images
    tune: Images
    journal: Log
    watch: Watch
    compact: bool
    deadline: Deadline
    processes: Processes

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self.train.images.device

    def missing(self, names: list[str]) -> bool:
        """Whether one of these files of the run is not there yet; all processes get the same answer."""
        return self.processes.everyone(not all((self.run.path / name).exists() for name in names))[0]

    def stop_before(self, stage: str) -> None:
        """Stop if it is time for any process.

        Raises:
            Paused: it is.
        """
        if self.processes.any(self.deadline.over()):
            raise Paused(f"time is up before {stage}")

    def epochs(self, stage: str) -> Watch:
        """The watcher of a stage that all processes train together: one of them keeps the log."""
        return self.journal.watch(self.watch, stage=stage) if self.processes.first else lambda _: None
