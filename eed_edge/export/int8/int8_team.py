"""Quantise a calibrated float team to int8, calibrate its gate anew and compare the two."""

import logging
from dataclasses import replace

import numpy as np

from eed_edge.arrays import Floats
from eed_edge.export.gate.calib_answers import AnsweringMembers, member_probs
from eed_edge.export.gate.calibrated_gate import GateOptions
from eed_edge.export.gate.calibrated_team import CalibratedTeam, calibrated_team
from eed_edge.export.int8.float_comparison import DeployedRule, TeamAnswers, compare_with_float
from eed_edge.export.int8.quantised_team import quantise_team
from eed_edge.export.int8.range_images import range_images
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import Split
from eed_edge.train.run_folder import Run

log = logging.getLogger(__name__)


def int8_team(
    float32: CalibratedTeam, images: Images, run: Run, *, train: Split, options: GateOptions
) -> CalibratedTeam:
    """Return the team in int8 with a gate of its own; its metrics say how it differs from the float team.

    Args:
        images: the calibration images.
        train: the training images, for the ranges of activations.

    Raises:
        ExportError: a network cannot be quantised or copied, or int8 loses more than the gate's ``max_drop``.
    """
    gate = run.recipe.gate
    log.info("quantising; the gate is calibrated anew on the int8 sub-models")
    quantised = quantise_team(float32.models, range_images(run.ensemble(), train, run))
    made = calibrated_team(
        quantised.models,
        "int8",
        quantised.deployed,
        quantised.copies,
        images,
        run,
        options,
    )

    def shared(members: AnsweringMembers) -> Floats:
        return np.concatenate([member_probs(members, part) for part in float32.images], axis=1)

    def answers(team: CalibratedTeam) -> TeamAnswers:
        rule = DeployedRule(gate.rule, team.gate.spec.parameters_of(gate.rule), options.max_submodels)
        return TeamAnswers(rule, team.answers, shared(team.members))

    figures = compare_with_float(
        answers(made), shared(quantised.copies), answers(float32), max_drop=gate.max_drop
    )
    return replace(made, metrics=figures.as_metrics())
