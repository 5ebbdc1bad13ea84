"""The images that activation ranges are measured on: training images, clean and attacked."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from eed_edge.arrays import Floats
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.seeds import range_seed
from eed_edge.train.data.batches import Images, in_order
from eed_edge.train.data.splits import Split
from eed_edge.train.run_folder import Run
from eed_edge.train.validation import VALIDATION_BATCH

RANGE_IMAGES = 512
ATTACK = PGD(steps=5)
"""A range needs the size of what an attack reaches, not its success."""


@dataclass(frozen=True)
class Int8Request:
    """What is to be exported in int8, and the training images that ranges come from."""

    train: Split
    submodels: bool = True
    dense: bool = False


def range_images(net: nn.Module, train: Split, run: Run) -> Floats:
    """Return 512 training images drawn by the recipe's seed, then the same attacked by PGD against ``net``.

    Attacked images reach values that clean ones do not; a range without them would cut these off.
    A run without attacks has clean ones alone.
    """
    seed = range_seed(run.recipe.seed)
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:RANGE_IMAGES])
    drawn = train[rows]
    images = Images(torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels))
    threat = Threat(run.recipe.base.eps_255 / 255, generator=torch.Generator().manual_seed(seed))
    batches = list(in_order(images, VALIDATION_BATCH))
    clean = [batch for batch, _ in batches]
    attacked = (
        [ATTACK(net, batch, labels, threat) for batch, labels in batches] if run.recipe.attacked else []
    )
    ranges: Floats = torch.cat([*clean, *attacked]).contiguous().numpy()
    return ranges
