"""A team with its gate calibrated on what its own files answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from eed_edge.export.calib_answers import AnsweringMembers, attack_prefixes, member_probs
from eed_edge.export.calibration import GateSetting, MemberProbs, calibrate
from eed_edge.manifest import Precision
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run


@dataclass(frozen=True)
class CalibratedTeam:
    """Sub-models with the gate that was calibrated on them.

    models: the ONNX files in running order.
    members: how these files answer.
    images: the calibration images in [0, 1], then the same attacked against every prefix.
    answers: what the members say to them.
    settings: of each gate rule.
    metrics: further figures for the manifest.
    """

    models: tuple[bytes, ...]
    precision: Precision
    members: AnsweringMembers
    images: tuple[Tensor, ...]
    answers: MemberProbs
    settings: Mapping[str, GateSetting]
    metrics: Mapping[str, float | str] = field(default_factory=dict)


def calibrated_team(
    models: tuple[bytes, ...],
    precision: Precision,
    members: AnsweringMembers,
    attackable: Ensemble,
    images: Images,
    run: Run,
    *,
    max_submodels: int | None,
) -> CalibratedTeam:
    """Attack the prefixes of a team, have the members answer, and calibrate every gate rule.

    Args:
        members: how the files answer.
        attackable: the same members with gradients.
        images: the calibration images.
    """
    clean, attacked = as_float(images.images), attack_prefixes(attackable, images, run)
    answers = MemberProbs(
        clean=member_probs(members, clean),
        attacked=tuple(member_probs(members, part) for part in attacked),
        labels=images.labels.numpy(),
    )
    settings = calibrate(answers, run.recipe.gate, max_submodels=max_submodels)
    return CalibratedTeam(models, precision, members, (clean, *attacked), answers, settings)
