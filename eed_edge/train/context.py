"""What every stage of one call works with: the run, its images, who watches, who shares the work."""

from dataclasses import dataclass

import torch

from eed_edge.train.data.batches import Images
from eed_edge.train.run_folder import Run
from eed_edge.train.system.distributed import Processes
from eed_edge.train.system.epoch_log import EpochLog, TrainingCallback
from eed_edge.train.system.time_limit import Paused, TimeLimit


@dataclass(frozen=True)
class TrainingContext:
    """One call of ``train``.

    journal: this process's log; the first one's is ``log.jsonl``.
    watch: told of every batch and epoch.
    compact: keep finished networks of base and pool in half precision.
    """

    run: Run
    train: Images
    tune: Images
    log: EpochLog
    on_record: TrainingCallback
    compact: bool
    time_limit: TimeLimit
    processes: Processes

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self.train.images.device

    def any_missing(self, names: list[str]) -> bool:
        """Whether one of these files of the run is not there yet; all processes get the same answer."""
        return self.processes.all_gather(not all((self.run.path / name).exists() for name in names))[0]

    def pause_if_due(self, stage: str) -> None:
        """Stop if it is time for any process.

        Raises:
            Paused: it is.
        """
        if self.processes.any(self.time_limit.expired()):
            raise Paused(f"time is up before {stage}")

    def epoch_callback(self, stage: str) -> TrainingCallback:
        """The watcher of a stage that all processes train together: one of them keeps the log."""
        return self.log.callback(self.on_record, stage=stage) if self.processes.is_main else lambda _: None
