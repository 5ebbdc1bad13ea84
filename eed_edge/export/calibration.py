"""When the runtime may stop: the parameters of all three rules, chosen on the calib images alone.

An image is lost when the mean of all members is right and the gate's answer is wrong. The chosen
parameters use the fewest sub-models while losing at most ``max_drop`` of the images, clean and
attacked; attacked ones are made against every prefix and the worst prefix counts.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from eed_edge.arrays import Floats
from eed_edge.recipe import Gate
from eed_edge.runtime.gates.early_exit import EarlyExitResult
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.gates.rule_registry import GATE_RULES

log = logging.getLogger(__name__)
CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class GateSetting:
    """One setting of a rule and what it does on the calib images."""

    parameters: Mapping[str, float]
    lost_clean: float
    lost_attacked: float
    upper_bound: float
    submodels_used: float


@dataclass(frozen=True)
class MemberProbs:
    """What every member said on calib, ``(members, n, k)`` each, and the labels ``(n,)``.

    attacked: for each prefix 1 … N, the answers to the images made against its mean.
    """

    clean: Floats
    attacked: tuple[Floats, ...]
    labels: NDArray[np.int64]


def calibrate(answers: MemberProbs, cfg: Gate, *, max_submodels: int | None = None) -> dict[str, GateSetting]:
    """The chosen setting of each rule.

    Settings are chosen without a cap, which a caller may lift; with ``max_submodels`` the figures of
    the chosen ones are those under that cap.

    With ``guarantee`` the settings of a rule are tested from the safest down and the last one
    before the first whose upper 95 % Clopper-Pearson bound exceeds ``max_drop`` is taken: testing
    in a fixed order keeps the level. The bound holds for images like these and this attack only.
    """
    chosen = {}
    for name, rule in GATE_RULES.items():
        grid = rule.calibration_grid(len(answers.clean))
        tried = (_try(answers, name, parameters) for parameters in grid)
        best = _guaranteed(tried, cfg.max_drop) if cfg.guarantee else _cheapest(tried, cfg.max_drop)
        if not cfg.guarantee:
            refined = rule.refine(best.parameters, (answers.clean, *answers.attacked))
            best = best if refined is best.parameters else _try(answers, name, refined)
        chosen[name] = best
    needed = images_needed(cfg.max_drop)
    if cfg.guarantee and len(answers.labels) < needed:
        log.warning(
            "%d calib images cannot guarantee a drop of %g: at least %d are needed; all members run",
            len(answers.labels),
            cfg.max_drop,
            needed,
        )
    if max_submodels is None:
        return chosen
    capped = {rule: _try(answers, rule, one.parameters, max_submodels) for rule, one in chosen.items()}
    here = capped[cfg.rule]
    worst = here.upper_bound if cfg.guarantee else max(here.lost_clean, here.lost_attacked)
    if worst > cfg.max_drop:
        log.warning(
            "with at most %d sub-models the drop is up to %.4g, the recipe allows %g; raise max_submodels",
            max_submodels,
            worst,
            cfg.max_drop,
        )
    return capped


def images_needed(max_drop: float) -> int:
    """The fewest images with which a bound of ``max_drop`` can be shown at all, none of them lost."""
    if max_drop <= 0:
        return 2**31
    return int(np.ceil(np.log(1 - CONFIDENCE_LEVEL) / np.log1p(-min(max_drop, 1 - 1e-12))))


def upper_bound(lost: int, images: int) -> float:
    """One-sided 95 % Clopper-Pearson bound of a share, in [0, 1]."""
    return 1.0 if lost >= images else float(beta.ppf(CONFIDENCE_LEVEL, lost + 1, images - lost))


def _try(
    answers: MemberProbs, rule: str, parameters: Mapping[str, float], max_submodels: int | None = None
) -> GateSetting:
    def ask(probs: Floats) -> EarlyExitResult:
        return replay_rule(probs, rule, parameters, max_submodels=max_submodels)

    clean = ask(answers.clean)
    lost = _dropped(answers.clean, clean.labels, answers.labels)
    attacked = max(_dropped(probs, ask(probs).labels, answers.labels) for probs in answers.attacked)
    images = len(answers.labels)
    return GateSetting(
        parameters=parameters,
        lost_clean=lost / images,
        lost_attacked=attacked / images,
        upper_bound=upper_bound(max(lost, attacked), images),
        submodels_used=float(clean.submodels_used.mean()),
    )


def _dropped(probs: Floats, gate: NDArray[np.int64], labels: NDArray[np.int64]) -> int:
    static = probs.mean(0).argmax(1)
    return int(((static == labels) & (gate != labels)).sum())


def _cheapest(tried: Iterable[GateSetting], max_drop: float) -> GateSetting:
    """Fewest sub-models within the limit; the first of equals, and the first of all if none is."""
    everything = list(tried)
    within = [one for one in everything if max(one.lost_clean, one.lost_attacked) <= max_drop]
    return min(within or everything[:1], key=lambda one: one.submodels_used)


def _guaranteed(tried: Iterable[GateSetting], max_drop: float) -> GateSetting:
    """The last setting before the first whose bound exceeds the limit; the safest if that is the first."""
    settings = iter(tried)
    last = next(settings)
    if last.upper_bound > max_drop:
        return last
    for one in settings:
        if one.upper_bound > max_drop:
            break
        last = one
    return last
