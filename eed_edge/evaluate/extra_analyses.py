"""Further analyses: slowdown, torch parity, distribution shift, curves, example images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge.attacks.interface import Threat
from eed_edge.evaluate import example_images
from eed_edge.evaluate.adaptive import slowdown, slowdown_attack
from eed_edge.evaluate.example_images import stored_count
from eed_edge.evaluate.metrics import accuracy_curves, shift, torch_parity
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.suites import Suite
from eed_edge.runtime.measure.conditions import conditions_between, snapshot
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.run_folder import Run, read_json


def analyse_further(
    run: Run,
    models: ModelsCompared,
    images: Images,
    outcomes: Mapping[str, Outcome],
    *,
    threat: Threat,
    suite: Suite,
    on_progress: ProgressCallback,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the report's ``slowdown``, ``replay``, ``shift`` and ``curves``, and the example arrays.

    A suite without attacks has neither ``slowdown``, the curve over eps, nor examples.

    Args:
        images: the attacked images; at most ``stored_count`` of them are analysed.
        suite: how many of them are in the curve over eps, and how often the slowdown attack starts anew.
        outcomes: outcome by job name, on these images.
    """
    few = images[slice(0, stored_count(images))]
    if not suite.kinds:
        return _analyse_clean(models, images, few, outcomes, threat.seed, on_progress), {}
    members = len(models.ensemble.members)
    attacked_images = {
        kind: torch.from_numpy(outcomes[name].images[: len(few)])
        for kind in ("pgd20", "autoattack")
        if (name := f"{kind} on mean-{members}") in outcomes
    }
    clean, pgd = as_float(few.images), attacked_images["pgd20"]
    restarts = suite.slowdown_restarts
    slowed = slowdown_attack.slowdown_images(
        models, few, eps=threat.eps, restarts=restarts, seed=threat.seed, on_progress=on_progress
    )
    baselines = {name: net for name, net in models.singles.items() if name != "dense"}
    eps_curve = accuracy_curves.eps_curve(
        models, few[slice(0, suite.eps_images)], eps=threat.eps, seed=threat.seed, on_progress=on_progress,
        baselines=baselines,
    )  # fmt: skip
    shifted = shift.measure_shift(
        models.deployed, few, every=images, seed=threat.seed, on_progress=on_progress,
        attacked={name: made.numpy() for name, made in attacked_images.items()},
    )  # fmt: skip
    parts: dict[str, Any] = {
        "slowdown": slowdown.measure_slowdown(
            models, few, pgd, slowed, settings=slowdown_attack.attack_settings(threat.eps, restarts)
        ),
        "replay": torch_parity.check_torch_parity(
            models, {"clean": clean, **attacked_images, "slowdown": slowed}, on_progress=on_progress
        ),
        "shift": shifted,
        "curves": _attack_curves(run, models, few, outcomes, slowed) | {"eps": eps_curve},
    }
    return parts, example_images.examples(models, clean, pgd, few.labels.numpy())


def _analyse_clean(
    models: ModelsCompared,
    images: Images,
    few: Images,
    outcomes: Mapping[str, Outcome],
    seed: int,
    on_progress: ProgressCallback,
) -> dict[str, Any]:
    """Return the parts that need no attack: ``replay``, ``shift`` and ``curves``."""
    clean = as_float(few.images)
    return {
        "replay": torch_parity.check_torch_parity(models, {"clean": clean}, on_progress=on_progress),
        "shift": shift.measure_shift(
            models.deployed, few, every=images, attacked={}, seed=seed, on_progress=on_progress
        ),
        "curves": _curves(models, few, {"clean": outcomes["clean on all"]}, []),
    }


def _attack_curves(
    run: Run, models: ModelsCompared, few: Images, outcomes: Mapping[str, Outcome], slowed: torch.Tensor
) -> dict[str, Any]:
    """Return the curves with the rows of PGD-20 and of the slowdown attack, and that of robust diversity."""
    members = len(models.ensemble.members)
    shown = {"clean": outcomes["clean on all"], "pgd20": outcomes[f"pgd20 on mean-{members}"]}
    attacked = [outcomes[f"pgd20 on mean-{t}"].probs[:, : len(few)] for t in range(1, members + 1)]
    curves = _curves(models, few, shown, attacked)
    used = models.deployed(slowed.contiguous().numpy()).submodels_used
    curves["stopping"]["slowdown"] = accuracy_curves.stopping_shares(used, members=members)
    selection = read_json(run.path / "selection.json")
    rd = accuracy_curves.diversity_curve(selection, threshold=run.recipe.select.rd)
    return {**curves, **({"rd": rd} if rd and run.recipe.attacked else {})}


def _curves(
    models: ModelsCompared,
    few: Images,
    shown: Mapping[str, Outcome],
    attacked: Sequence[NDArray[np.float32]],
) -> dict[str, Any]:
    """Return the curves over thresholds, stops, agreement and widths.

    Args:
        shown: outcomes by the title of their rows.
        attacked: the members' probabilities on ``few`` attacked against each prefix, if they were attacked.
    """
    deployed, members = models.deployed, len(models.ensemble.members)
    probs = shown["clean"].probs[:, : len(few)]
    answers = accuracy_curves.CurveLabels(
        probs, np.array(attacked).reshape(-1, *probs.shape), few.labels.numpy()
    )
    before = snapshot()
    times = accuracy_curves.prefix_ms(deployed, as_float(few.images))
    conditions = conditions_between(before, snapshot())
    curve = accuracy_curves.threshold_curve(answers, deployed, times_ms=times)
    return {
        "threshold": {**curve, "conditions": conditions},
        "stopping": {
            name: accuracy_curves.stopping_shares(each.submodels_used, members=members)
            for name, each in shown.items()
        },
        "agreement": {name: accuracy_curves.member_agreement(each.probs) for name, each in shown.items()},
        "widths": accuracy_curves.channel_widths(
            models.dense, list((models.float_members or models.ensemble).members)
        ),
    }
