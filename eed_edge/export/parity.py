"""Parity: a bundle must answer as the networks that it was exported from."""

import logging
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.errors import ExportError
from eed_edge.export.cascade_graph import PROBABILITIES, USED
from eed_edge.export.gate.calib_answers import AnsweringMembers
from eed_edge.export.network_graph import INPUT
from eed_edge.manifest import CASCADE_FILE
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.gates.margins import TIE_TOLERANCES, near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.train.data.batches import images_at_once
from eed_edge.train.validation import VALIDATION_BATCH

log = logging.getLogger(__name__)
LARGEST_DIFFERENCE = 1e-4
"""Largest difference of a logit between torch and onnxruntime, times the largest logit if that is above 1."""
PARITY_IMAGES = 256


def check_parity(folder: Path, members: AnsweringMembers, images: list[Tensor]) -> None:
    """Compare the files of a bundle with its members: logits, labels and exits.

    In int8 the members are the quantised files by themselves, and a decision within a step of the quantiser
    may fall either way, since a batch of another size rounds otherwise.

    Args:
        images: batches ``(n, c, h, w)`` in [0, 1], at least ``PARITY_IMAGES`` in all or they are
            topped up with noise.

    Raises:
        ExportError: a logit differs by more than ``LARGEST_DIFFERENCE``, or any decision differs.
    """
    everything = torch.cat(images)
    if (missing := PARITY_IMAGES - len(everything)) > 0:
        noise = torch.Generator().manual_seed(0)
        everything = torch.cat([everything, torch.rand((missing, *everything.shape[1:]), generator=noise)])
    deployed = load_bundle(folder, deadline_ms=math.inf)
    size = images_at_once(everything, VALIDATION_BATCH)
    with torch.no_grad():
        parts = [members.member_logits(batch) for batch in torch.split(everything, size)]
    logits = torch.cat(parts, 1).numpy()
    pixels = everything.contiguous().numpy()
    _check_logits(deployed, pixels, logits)
    _check_decisions(deployed, folder / CASCADE_FILE, pixels, torch.from_numpy(logits).softmax(2).numpy())


def _check_logits(deployed: Cascade, pixels: Floats, logits: Floats) -> None:
    """Compare every sub-model with the members' logits, ``(members, n, k)``."""
    size = images_at_once(torch.from_numpy(pixels), VALIDATION_BATCH)
    for i, (session, output) in enumerate(deployed.submodels):
        batches = [pixels[at : at + size] for at in range(0, len(pixels), size)]
        exported = np.concatenate([session.run([output], {INPUT: batch})[0] for batch in batches])
        difference = float(np.abs(exported - logits[i]).max())
        allowed = LARGEST_DIFFERENCE * max(1.0, float(np.abs(logits[i]).max()))
        if not difference <= allowed:
            raise ExportError(
                f"submodel-{i}.onnx: logits differ from torch by up to {difference:.2e} on {len(pixels)}"
                f" images, expected at most {allowed:.2e}; the network has an operator that exports inexactly"
            )


def _check_decisions(deployed: Cascade, single_file: Path, pixels: Floats, probs: Floats) -> None:
    """Compare labels and sub-models used with the rule replayed on the members' probs, near-ties apart."""
    rule, parameters, cap = deployed.rule, deployed.parameters, deployed.max_submodels
    expected = replay_rule(probs, rule, parameters, max_submodels=cap)
    answer = deployed(pixels)
    tolerance = TIE_TOLERANCES[deployed.manifest.precision]
    ties = near_ties(probs, rule, parameters, tolerance=tolerance, max_submodels=cap)  # may fall either way
    if ties.any():
        log.info(
            "%d of %d images are within %g of a tie, not compared", int(ties.sum()), len(pixels), tolerance
        )
    for name in ("labels", "submodels_used"):
        if count := int(((getattr(answer, name) != getattr(expected, name)) & ~ties).sum()):
            raise ExportError(
                f"{name} differ between torch and the bundle on {count} of {len(pixels)} images"
            )
    if CASCADE_FILE in deployed.manifest.files:
        session = open_session(single_file.read_bytes(), CASCADE_FILE)
        means, used = session.run([PROBABILITIES, USED], {INPUT: pixels})
        differ = (means.argmax(1) != answer.labels) | (used != answer.submodels_used)
        if count := int((differ & ~ties).sum()):
            raise ExportError(
                f"{CASCADE_FILE} and the sub-models disagree on {count} of {len(pixels)} images"
            )
