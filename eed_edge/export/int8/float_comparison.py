"""Cost of quantising: answers of an int8 team compared with the float team's, on the calibration images."""

from dataclasses import asdict, dataclass

import numpy as np

from eed_edge.arrays import Bools, Floats
from eed_edge.errors import ExportError
from eed_edge.export.gate.calibration import MemberProbs
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.runtime.gates.early_exit import EarlyExitResult
from eed_edge.runtime.gates.margins import TIE_TOLERANCES, near_ties
from eed_edge.runtime.gates.replay import replay_rule

UNEXPLAINED = 1000
"""One image in so many may be answered otherwise by the copy without being a near-tie."""


@dataclass(frozen=True)
class DeployedRule:
    """The gate of one team: its rule, parameters and cap."""

    rule: str
    parameters: Parameters
    max_submodels: int | None

    def answers(self, probs: Floats) -> EarlyExitResult:
        """Replay it on ``(members, n, k)``."""
        return replay_rule(probs, self.rule, self.parameters, max_submodels=self.max_submodels)

    def right(self, answers: MemberProbs) -> tuple[Bools, Bools]:
        """Which images are right when clean, and which under every attack too, ``(n,)`` each."""
        clean = self.answers(answers.clean).labels == answers.labels
        attacked = [self.answers(probs).labels == answers.labels for probs in answers.attacked]
        return clean, np.logical_and.reduce([clean, *attacked])


@dataclass(frozen=True)
class Int8Figures:
    """Figures of the manifest's ``metrics``, on calibration images.

    int8_images: clean ones, and those attacked on the float team.
    int8_labels_unlike_float, int8_stops_unlike_float: how many of them the float bundle answers with another
        label, or after another number of sub-models; each has its own gate.
    int8_labels_unlike_copy, int8_stops_unlike_copy: likewise for the torch copy, by the same gate.
    int8_lost_clean, int8_lost_attacked: accuracy of float minus that of int8, each team attacked for itself.
    """

    int8_images: int
    int8_labels_unlike_float: int
    int8_stops_unlike_float: int
    int8_labels_unlike_copy: int
    int8_stops_unlike_copy: int
    int8_lost_clean: float
    int8_lost_attacked: float

    def as_metrics(self) -> dict[str, float | str]:
        """The figures by name, all as float."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class TeamAnswers:
    """A team's gate and its answers.

    by_version: on clean images and on those attacked against the prefixes of this team.
    shared: on images that both teams are shown, ``(members, n, k)``.
    """

    gate: DeployedRule
    by_version: MemberProbs
    shared: Floats


def compare_with_float(
    int8: TeamAnswers, copy_shared: Floats, float32: TeamAnswers, *, max_drop: float
) -> Int8Figures:
    """Return the figures, or refuse an int8 team that loses too much.

    Args:
        copy_shared: as ``int8.shared``, by the simulated-quantisation copies.
        max_drop: the largest share of the images that int8 may lose, clean or attacked.

    Raises:
        ExportError: it loses more, or its copy answers differently where rounding cannot explain it.
    """
    labels, stops = _unlike_copy(int8, copy_shared)
    lost_clean, lost_attacked = (
        float(before.mean() - after.mean())
        for before, after in zip(
            float32.gate.right(float32.by_version), int8.gate.right(int8.by_version), strict=True
        )
    )
    if max(lost_clean, lost_attacked) > max_drop:
        raise ExportError(
            f"int8 is right on {lost_clean:.2%} fewer calib images than float32 when clean and"
            f" {lost_attacked:.2%} when attacked, expected at most {max_drop:.2%};"
            " raise --max-drop or export without --int8"
        )
    ours, theirs = int8.gate.answers(int8.shared), float32.gate.answers(float32.shared)
    return Int8Figures(
        int8_images=int8.shared.shape[1],
        int8_labels_unlike_float=int((ours.labels != theirs.labels).sum()),
        int8_stops_unlike_float=int((ours.submodels_used != theirs.submodels_used).sum()),
        int8_labels_unlike_copy=labels,
        int8_stops_unlike_copy=stops,
        int8_lost_clean=lost_clean,
        int8_lost_attacked=lost_attacked,
    )


def _unlike_copy(int8: TeamAnswers, copy_shared: Floats) -> tuple[int, int]:
    """Count the labels and stops in which the copy differs; raise where rounding cannot explain it."""
    gate, images = int8.gate, int8.shared.shape[1]
    ours, copied = gate.answers(int8.shared), gate.answers(copy_shared)
    labels = ours.labels != copied.labels
    stops = ours.submodels_used != copied.submodels_used
    ties = near_ties(
        int8.shared,
        gate.rule,
        gate.parameters,
        tolerance=TIE_TOLERANCES["int8"],
        max_submodels=gate.max_submodels,
    )
    unexplained = int(((labels | stops) & ~ties).sum())
    if unexplained > images // UNEXPLAINED:
        raise ExportError(
            f"a copy in torch, for attacks, answers {unexplained} of {images} images differently from the"
            f" int8 files, expected at most {images // UNEXPLAINED} besides near-ties; export without --int8"
        )
    return int(labels.sum()), int(stops.sum())
