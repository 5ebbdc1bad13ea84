"""One evaluation: the models judged, the images, the attacks, and the folder of finished batches."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from eed_edge.arrays import Ints
from eed_edge.attacks.interface import Threat
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.suites import Suite
from eed_edge.train.data.batches import Images, images_at_once, on_device
from eed_edge.train.data.splits import Split
from eed_edge.train.run_folder import Run

FORMAT = 5
"""Counted up when stored batches of an older version must not be continued."""
BATCH = 100


@dataclass(frozen=True)
class EvaluationJob:
    """One call of ``evaluate``: the models judged, the images and the attacks.

    drawn: the test images that are attacked.
    rows: their places in the test part, ``(n,)``.
    command: the command line, for the report.
    by_name: the attacks were selected with ``--only``.
    """

    run: Run
    bundle: Path
    suite: Suite
    models: ModelsCompared
    drawn: Split
    rows: Ints
    command: str
    by_name: bool

    @property
    def threat(self) -> Threat:
        """The recipe's radius and seed."""
        return Threat(self.run.recipe.base.eps_255 / 255, self.run.recipe.seed)

    @property
    def images(self) -> Images:
        """The drawn images on the CPU."""
        return on_device(self.drawn, torch.device("cpu"))

    @property
    def batch(self) -> int:
        """Images that are attacked together."""
        return images_at_once(self.images.images, BATCH)

    @cached_property
    def folder(self) -> Path:
        """Where finished batches are stored; the name is a digest of all that they depend on."""
        state = self.run.evaluated_digest(self.bundle)
        kinds, seed = list(self.suite.kinds), self.run.recipe.seed
        state.update(repr((FORMAT, self.batch, self.suite.name, kinds, seed)).encode())
        state.update(np.ascontiguousarray(self.drawn.images).data)
        state.update(np.ascontiguousarray(self.drawn.labels).data)
        return self.run.path / f"attack-{state.hexdigest()[:12]}"
