"""Calibration: choose the parameters of every gate rule on the calibration set.

An image is dropped when the mean of all members is right and the gate's answer is wrong. The chosen
parameters run the fewest sub-models while dropping at most ``max_drop`` of the images, clean and
attacked. Attacked images are made against every prefix, and an image that is dropped in any of these versions
counts: the evaluation, too, counts an image only if it is right under all of them. A run
without attacks has clean images alone.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from eed_edge.arrays import Bools, Floats
from eed_edge.export.gate.stop_thresholds import falling_thresholds, search_thresholds, stop_table
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.recipe import Gate
from eed_edge.runtime.gates.early_exit import EarlyExitResult
from eed_edge.runtime.gates.replay import replay_rule

log = logging.getLogger(__name__)
CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class GateSetting:
    """Parameters of one rule and their results on the calibration set; shares are in [0, 1].

    lost_attacked: the share that is dropped on any of the attacked images made from it, or clean.
    """

    parameters: Parameters
    lost_clean: float
    lost_attacked: float
    upper_bound: float
    submodels_used: float


@dataclass(frozen=True)
class MemberProbs:
    """Probabilities of every member on the calibration set, ``(members, n, k)`` each, and labels ``(n,)``.

    attacked: for each prefix 1 … N, on the images attacked against its mean; empty in a run without attacks.
    """

    clean: Floats
    attacked: tuple[Floats, ...]
    labels: NDArray[np.int64]


def calibrate(answers: MemberProbs, cfg: Gate, *, max_submodels: int | None = None) -> dict[str, GateSetting]:
    """Choose the setting of each rule; warn where the limit is not held.

    ``max_submodels`` does not change the choice, as callers may lift the cap; the returned results are those
    under the cap.

    With ``guarantee``, settings are tested from the safest on, and the choice is the last one before the
    first whose upper 95 % Clopper-Pearson bound exceeds ``max_drop``: fixed-sequence testing keeps the
    level, because the first setting of every grid never stops early and so drops nothing. The order of a
    grid must not depend on the images, so thresholds per stop then lie on a fixed line. The bound holds
    only for images of this distribution and this attack. Without it, the bound of a setting is that of the
    setting by itself: it does not know that the setting was chosen on the same images.
    """
    settings = {name: _choose(answers, cfg, name) for name in GATE_RULES}
    if max_submodels is not None:
        settings = {
            name: _evaluate(answers, name, setting.parameters, max_submodels)
            for name, setting in settings.items()
        }
    _warn(settings, cfg, len(answers.labels), max_submodels)
    return settings


def _choose(answers: MemberProbs, cfg: Gate, name: str) -> GateSetting:
    """Choose the setting of one rule; without the guarantee, log what it would cost the deployed rule."""
    rule = GATE_RULES[name]
    if cfg.guarantee:
        return _held_setting(answers, cfg, name)
    settings = [_evaluate(answers, name, each) for each in rule.calibration_grid(len(answers.clean))]
    best = _cheapest(settings, cfg.max_drop)
    if _has_thresholds(answers, name):
        best = _with_thresholds(answers, best, cfg.max_drop)
    refined = rule.refine(best.parameters, (answers.clean, *answers.attacked))
    best = best if refined is best.parameters else _evaluate(answers, name, refined)
    if name == cfg.rule:
        held = _held_setting(answers, cfg, name)
        log.info(
            "held with 95 %% confidence, a drop of %g would run %.2f instead of %.2f sub-models",
            cfg.max_drop,
            held.submodels_used,
            best.submodels_used,
        )
    return best


def _held_setting(answers: MemberProbs, cfg: Gate, name: str) -> GateSetting:
    """Choose the setting whose bound holds; thresholds per stop are tested along a fixed line."""
    members = len(answers.clean)
    grid = GATE_RULES[name].calibration_grid(members)
    held = _guaranteed((_evaluate(answers, name, each) for each in grid), cfg.max_drop)
    if not _has_thresholds(answers, name):
        return held
    line = ({**held.parameters, "thresholds": each} for each in falling_thresholds(members - 1))
    return _guaranteed((_evaluate(answers, name, each) for each in line), cfg.max_drop)


def _has_thresholds(answers: MemberProbs, name: str) -> bool:
    """Whether the rule takes a threshold per stop, and there is more than one stop to set."""
    return name == "confidence" and len(answers.clean) > 2


def _with_thresholds(answers: MemberProbs, common: GateSetting, max_drop: float) -> GateSetting:
    """Return thresholds per stop that run fewer sub-models within the limit, or else the common one."""
    table = stop_table((answers.clean, *answers.attacked), answers.labels)
    allowed = int(max_drop * len(answers.labels) + 1e-9)
    start = (common.parameters["threshold"],) * (len(answers.clean) - 1)
    thresholds = search_thresholds(table, allowed, [start])
    per_stop = _evaluate(answers, "confidence", {**common.parameters, "thresholds": thresholds})
    return per_stop if per_stop.submodels_used < common.submodels_used else common


def _warn(settings: Mapping[str, GateSetting], cfg: Gate, images: int, max_submodels: int | None) -> None:
    """Warn of too few images, of a bound above a guaranteed limit, and of a cap that breaks it."""
    needed, deployed = images_needed(cfg.max_drop), settings[cfg.rule]
    drop = deployed.upper_bound if cfg.guarantee else deployed.lost_attacked
    if images < needed:
        outcome = "all members run" if cfg.guarantee else "new images may lose more"
        log.warning(
            "%d calib images cannot guarantee a drop of %g: at least %d are needed; %s",
            images,
            cfg.max_drop,
            needed,
            outcome,
        )
    if drop > cfg.max_drop and max_submodels is not None:
        log.warning(
            "with at most %d sub-models the drop is up to %.4g, the recipe allows %g; raise max_submodels",
            max_submodels,
            drop,
            cfg.max_drop,
        )
    elif drop > cfg.max_drop and images >= needed:
        log.warning(
            "gate %s: the drop is up to %.4g, the recipe allows %g; its first setting stops early",
            cfg.rule,
            drop,
            cfg.max_drop,
        )


def images_needed(max_drop: float) -> int:
    """Return the fewest images that can prove a bound of ``max_drop``, when none of them is dropped."""
    if max_drop <= 0:
        return 2**31
    return int(np.ceil(np.log(1 - CONFIDENCE_LEVEL) / np.log1p(-min(max_drop, 1 - 1e-12))))


def upper_bound(dropped: int, images: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson upper bound of ``dropped / images``, in [0, 1]."""
    return 1.0 if dropped >= images else float(beta.ppf(CONFIDENCE_LEVEL, dropped + 1, images - dropped))


def _evaluate(
    answers: MemberProbs, rule: str, parameters: Parameters, max_submodels: int | None = None
) -> GateSetting:
    def replay(probs: Floats) -> EarlyExitResult:
        return replay_rule(probs, rule, parameters, max_submodels=max_submodels)

    clean = replay(answers.clean)
    dropped = [_dropped(answers.clean, clean.labels, answers.labels)]
    dropped += [_dropped(probs, replay(probs).labels, answers.labels) for probs in answers.attacked]
    lost, images = int(np.logical_or.reduce(dropped).sum()), len(answers.labels)
    return GateSetting(
        parameters=parameters,
        lost_clean=int(dropped[0].sum()) / images,
        lost_attacked=lost / images,
        upper_bound=upper_bound(lost, images),
        submodels_used=float(clean.submodels_used.mean()),
    )


def _dropped(probs: Floats, gate: NDArray[np.int64], labels: NDArray[np.int64]) -> Bools:
    static = probs.mean(0).argmax(1)
    dropped: Bools = (static == labels) & (gate != labels)
    return dropped


def _cheapest(settings: Iterable[GateSetting], max_drop: float) -> GateSetting:
    """Return the setting within the limit that runs the fewest sub-models, or the safest if none is."""
    candidates = list(settings)
    within = [setting for setting in candidates if setting.lost_attacked <= max_drop]
    return min(within or candidates[:1], key=lambda setting: setting.submodels_used)


def _guaranteed(settings: Iterable[GateSetting], max_drop: float) -> GateSetting:
    """Return the last setting before the first whose bound exceeds the limit, or else the safest."""
    remaining = iter(settings)
    last = next(remaining)
    if last.upper_bound > max_drop:
        return last
    for setting in remaining:
        if setting.upper_bound > max_drop:
            break
        last = setting
    return last
