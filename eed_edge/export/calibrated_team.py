"""A team with its gate calibrated on what its own files answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from eed_edge.export.calib_answers import AnsweringMembers, attack_prefixes, member_probs
from eed_edge.export.calibrated_gate import CalibratedGate, GateOptions, calibrate_gate
from eed_edge.export.calibration import MemberProbs
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
    gate: rule and parameters, temperatures, abstain threshold.
    metrics: further figures for the manifest.
    """

    models: tuple[bytes, ...]
    precision: Precision
    members: AnsweringMembers
    images: tuple[Tensor, ...]
    answers: MemberProbs
    gate: CalibratedGate
    metrics: Mapping[str, float | str] = field(default_factory=dict)


def calibrated_team(
    models: tuple[bytes, ...],
    precision: Precision,
    members: AnsweringMembers,
    attackable: Ensemble,
    images: Images,
    run: Run,
    options: GateOptions,
) -> CalibratedTeam:
    """Attack the prefixes of a team, have the members answer, and calibrate the gate.

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
    own = run.recipe.gate
    attack = f"pgd-{own.steps}, l_inf {run.recipe.base.eps_255:g}/255, against every prefix"
    gate = calibrate_gate(answers, own, attack=attack, options=options)
    return CalibratedTeam(models, precision, members, (clean, *attacked), answers, gate)
