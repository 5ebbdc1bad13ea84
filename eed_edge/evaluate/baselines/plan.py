"""The plan of a baseline, made before its training and stored, so that a stopped training resumes with it."""

from dataclasses import dataclass, field
from pathlib import Path

from eed_edge import schema
from eed_edge.errors import CheckpointError
from eed_edge.train.run_folder import read_json

TEAM, BASE = "team", "base"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Widths, latency and length of the training.

    widths: group root to channels.
    mean_ms, target_ms: latency per image of this network, and the target.
    epochs, by_hand: the most epochs of the training, and whether the user set them.
    macs: multiply-accumulates of the run's stages, and of this training at its longest.
    team: digest of the team's weights; empty when the user set the latency.
    settings: whose training settings it has, ``team`` or, as in version 0.1, ``base``.
    conditions: load, clock rate and processor while it was timed, as one line.
    matched_to: what had the target latency: the bundle's rule, or the user's word.
    """

    widths: dict[str, int]
    mean_ms: float
    target_ms: float
    epochs: int
    by_hand: bool
    macs: dict[str, float]
    team: str
    settings: str = field(default=BASE, metadata={"optional": True})
    conditions: str = field(default="", metadata={"optional": True})
    matched_to: str = field(default="", metadata={"optional": True})


def load_plan(path: Path, *, team: str, matched_to: str, epochs: int | None) -> Plan:
    """Load the plan of ``path`` and check that it belongs to this call.

    Raises:
        CheckpointError: the file is damaged, or of another team, target or number of epochs.
    """
    name = path.stem
    try:
        plan = schema.read_typed(Plan, read_json(path), path.name)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it and {name}.* beside it") from error
    if plan.team and team and plan.team != team:
        raise CheckpointError(f"{path} was made for another team; delete it and {name}.* beside it")
    if plan.matched_to and plan.matched_to != matched_to:
        raise CheckpointError(
            f"{path}: expected the time of {plan.matched_to}, got that of {matched_to}; delete it and"
            f" {name}.* beside it"
        )
    if epochs is not None and epochs != plan.epochs:
        raise CheckpointError(
            f"{path}: expected --epochs {plan.epochs}, got {epochs}; delete it and {name}.* beside it"
        )
    return plan
