"""Learning rate and length of a training."""

import bisect
import math
from collections.abc import Sequence
from typing import Any

from eed_edge.recipe import Training
from eed_edge.train.system.epoch_choice import out_of_patience

STABLE_SHARE = 0.8
"""Share of a ``wsd`` training at the full rate, when its length is not known before."""
EpochRecords = Sequence[dict[str, Any]]
"""A record of each epoch so far."""


def planned_epochs(cfg: Training, history: EpochRecords) -> int:
    """Length of the training, as far as its past determines it.

    ``wsd`` keeps the full rate until accuracy on tune has not risen for ``cfg.patience`` epochs, at most for
    four fifths of ``cfg.epochs``, and then decays it for a quarter of the epochs so far.
    """
    if cfg.schedule != "wsd":
        return cfg.epochs
    stable = _stable_epochs(cfg, history)
    return min(cfg.epochs, stable + math.ceil(stable * (1 - STABLE_SHARE) / STABLE_SHARE))


def has_ended(cfg: Training, history: EpochRecords) -> bool:
    """Whether all epochs are done, or no epoch has been better for ``cfg.patience`` epochs."""
    if cfg.schedule != "wsd" and out_of_patience(history, cfg):
        return True
    return len(history) >= planned_epochs(cfg, history)


def learning_rate(cfg: Training, history: EpochRecords, share: float) -> float:
    """Learning rate as a share of its peak, in [0, 1].

    Args:
        history: the epochs before this one.
        share: of this epoch, in [0, 1].
    """
    if cfg.schedule != "wsd":
        return schedule(cfg, (len(history) + share) / cfg.epochs)
    stable, end = _stable_epochs(cfg, history), planned_epochs(cfg, history)
    if len(history) < stable:
        return min(1.0, max(share, 0.01)) if not history else 1.0
    return (end - len(history) - share) / (end - stable)


def schedule(cfg: Training, progress: float) -> float:
    """The same for the schedules of a fixed length, after a share ``progress`` of the training."""
    if cfg.schedule == "onecycle":
        rise = 0.2
        return max(progress / rise, 0.01) if progress < rise else (1 - progress) / (1 - rise)
    if cfg.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if cfg.schedule == "step":
        return (1.0, *cfg.factors)[bisect.bisect_right(cfg.drops, progress)]
    return 1.0


def _stable_epochs(cfg: Training, history: EpochRecords) -> int:
    """Epochs at the full rate: those after which patience ran out, or else the most allowed."""
    longest = max(1, math.floor(cfg.epochs * STABLE_SHARE))
    past = range(1, min(len(history), longest) + 1)
    return next((n for n in past if out_of_patience(history[:n], cfg)), longest)
