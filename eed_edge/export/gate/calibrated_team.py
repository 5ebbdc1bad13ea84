"""A team with its gate calibrated on what its own files answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from eed_edge.export.gate.calib_answers import AnsweringMembers, attack_prefixes, member_probs
from eed_edge.export.gate.calibrated_gate import CalibratedGate, GateOptions, calibrate_gate
from eed_edge.export.gate.calibration import MemberProbs
from eed_edge.manifest import NO_ATTACK, Precision
from eed_edge.train.data.batches import Images, as_float, images_at_once
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run

COMPARED_IMAGES = 1000
"""Images of up to 32 x 32 pixels of each version that are compared with torch; of larger ones fewer."""


@dataclass(frozen=True)
class CalibratedTeam:
    """Sub-models with the gate that was calibrated on them.

    models: the ONNX files in running order.
    members: how these files answer.
    images: the calibration images in [0, 1], then the same attacked against every prefix; of large ones some.
    answers: the members' probabilities for them.
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
    versions = [as_float(images.images), *attack_prefixes(attackable, images, run)]
    clean, *attacked = (member_probs(members, part) for part in versions)
    answers = MemberProbs(clean=clean, attacked=tuple(attacked), labels=images.labels.numpy())
    compared = tuple(part[: images_at_once(part, COMPARED_IMAGES)].clone() for part in versions)
    gate_cfg = run.recipe.gate
    attack = f"pgd-{gate_cfg.steps}, l_inf {run.recipe.base.eps_255:g}/255, against every prefix"
    attack = attack if run.recipe.attacked else NO_ATTACK
    gate = calibrate_gate(answers, gate_cfg, attack=attack, options=options)
    return CalibratedTeam(models, precision, members, compared, answers, gate)
