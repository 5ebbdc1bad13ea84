"""Context shared by all training stages: run, images, epoch log and training context."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from eed_edge.recipe import Distilled
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.soft_labels import add_soft_labels
from eed_edge.train.run_folder import Run
from eed_edge.train.system.distributed import Processes
from eed_edge.train.system.epoch_log import EpochLog
from eed_edge.train.system.time_limit import Paused


@dataclass(frozen=True)
class StageContext:
    """Run, images, log and training context of one call, shared by its stages.

    log: epoch log of this process; the main process writes ``log.jsonl``.
    training: callbacks, time limit and processes; ``training_of`` derives a stage's from it.
    """

    run: Run
    train: Images
    tune: Images
    log: EpochLog
    training: TrainingContext

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self.train.images.device

    @property
    def processes(self) -> Processes:
        """The processes that train together."""
        return self.training.processes

    def any_missing(self, names: list[str]) -> bool:
        """Whether the main process misses one of these files of the run; the same for all processes."""
        return self.processes.all_gather(not all((self.run.path / name).exists() for name in names))[0]

    def pause_if_due(self, stage: str) -> None:
        """Pause before ``stage`` if the time limit of any process has expired.

        Raises:
            Paused: it has.
        """
        if self.processes.any(self.training.time_limit.expired()):
            raise Paused(f"time is up before {stage}")

    def with_soft_labels(self, base: nn.Module, cfg: Distilled) -> Images:
        """The training images, with the soft labels of ``base`` if the stage ``cfg`` wants them once."""
        recipe, folder = self.run.recipe, self.run.path
        return add_soft_labels(self.train, base, cfg, recipe=recipe, run=folder, processes=self.processes)

    def training_of(self, stage: str, *, seed: int, state: Path | None = None) -> TrainingContext:
        """Training context of a stage that all processes train together; the main one keeps the log."""
        callbacks = (self.log.record, *self.training.callbacks) if self.processes.is_main else ()
        return dataclasses.replace(
            self.training,
            callbacks=callbacks,
            stage=stage,
            seed=seed,
            augment=self.run.recipe.data,
            state=state,
        )
