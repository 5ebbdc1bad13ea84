"""Training context: callbacks, time limit, processes, seed, augmentation and checkpoint path."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eed_edge.recipe import Data
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.system.epoch_log import TrainingCallback
from eed_edge.train.system.time_limit import TimeLimit


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """Everything that a training needs beside network, images and recipe section.

    A command makes one; each stage derives its own with ``dataclasses.replace``.

    callbacks: called in turn with every record.
    time_limit: when to pause at a checkpoint; the default never does.
    processes: the processes that train together.
    device: ``auto``, ``cpu`` or ``cuda``.
    compact: save finished networks in half precision.
    stage, part: where the training belongs, such as ``pool`` and ``nis-0``; added to every record.
    seed: seed of the order of images, the augmentation and the attacks.
    augment: the augmentation of training images.
    state: checkpoint of the training in progress; None writes none.
    """

    callbacks: tuple[TrainingCallback, ...] = ()
    time_limit: TimeLimit = field(default_factory=TimeLimit)
    processes: Processes = SINGLE_PROCESS
    device: str = "auto"
    compact: bool = False
    stage: str = "training"
    part: str = ""
    seed: int = 0
    augment: Data = field(default_factory=Data)
    state: Path | None = None

    @property
    def name(self) -> str:
        """Name of the training in log messages: its part, or its stage without one."""
        return self.part or self.stage

    def record(self, row: dict[str, Any]) -> None:
        """Call every callback with ``row`` and the training's stage and part."""
        place = {"stage": self.stage, "part": self.part} if self.part else {"stage": self.stage}
        for callback in self.callbacks:
            callback({**place, **row})
