"""Further analyses: slowdown, torch parity, distribution shift, curves, example images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge.attacks.interface import Threat
from eed_edge.evaluate import example_images
from eed_edge.evaluate.adaptive import slowdown, slowdown_attack
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
    few: Images,
    outcomes: Mapping[str, Outcome],
    *,
    threat: Threat,
    suite: Suite,
    on_progress: ProgressCallback,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the report's ``slowdown``, ``replay``, ``shift`` and ``curves``, and the example arrays.

    Args:
        few: the first of the attacked images.
        suite: how many of them are in the curve over eps, and how often the slowdown attack starts anew.
        outcomes: outcome by job name, on these images and those after them.
    """
    members = len(models.ensemble.members)
    kept = {
        kind: torch.from_numpy(outcomes[name].images[: len(few)])
        for kind in ("pgd20", "autoattack")
        if (name := f"{kind} on mean-{members}") in outcomes
    }
    clean, pgd = as_float(few.images), kept["pgd20"]
    restarts = suite.slowdown_restarts
    slowed = slowdown_attack.slowdown_images(
        models, few, eps=threat.eps, restarts=restarts, seed=threat.seed, on_progress=on_progress
    )
    eps_curve = accuracy_curves.eps_curve(
        models,
        few[slice(0, suite.eps_images)],
        eps=threat.eps,
        seed=threat.seed,
        on_progress=on_progress,
        baselines={name: net for name, net in models.singles.items() if name != "dense"},
    )
    parts: dict[str, Any] = {
        "slowdown": slowdown.measure_slowdown(
            models, few, pgd, slowed, settings=slowdown_attack.attack_settings(threat.eps, restarts)
        ),
        "replay": torch_parity.check_torch_parity(
            models, {"clean": clean, **kept, "slowdown": slowed}, on_progress=on_progress
        ),
        "shift": shift.measure_shift(
            models.deployed,
            few,
            attacked={name: made.numpy() for name, made in kept.items()},
            seed=threat.seed,
            on_progress=on_progress,
        ),
        "curves": _curves(run, models, few, outcomes, slowed, eps=eps_curve),
    }
    return parts, example_images.examples(models, clean, pgd, few.labels.numpy())


def _curves(
    run: Run,
    models: ModelsCompared,
    few: Images,
    outcomes: Mapping[str, Outcome],
    slowed: torch.Tensor,
    *,
    eps: dict[str, Any],
) -> dict[str, Any]:
    deployed, members = models.deployed, len(models.ensemble.members)
    unquantised = models.float_members or models.ensemble
    clean, whole = outcomes["clean on all"], outcomes[f"pgd20 on mean-{members}"]
    used = {
        "clean": clean.submodels_used,
        "pgd20": whole.submodels_used,
        "slowdown": deployed(slowed.contiguous().numpy()).submodels_used,
    }
    attacked = [outcomes[f"pgd20 on mean-{t}"].probs[:, : len(few)] for t in range(1, members + 1)]
    answers = accuracy_curves.CurveLabels(clean.probs[:, : len(few)], np.stack(attacked), few.labels.numpy())
    before = snapshot()
    times = accuracy_curves.prefix_ms(deployed, as_float(few.images))
    conditions = conditions_between(before, snapshot())
    rd = accuracy_curves.diversity_curve(
        read_json(run.path / "selection.json"), threshold=run.recipe.select.rd
    )
    return {
        "threshold": {
            **accuracy_curves.threshold_curve(answers, deployed, times_ms=times),
            "conditions": conditions,
        },
        "eps": eps,
        "stopping": {
            name: accuracy_curves.stopping_shares(each, members=members) for name, each in used.items()
        },
        "agreement": {
            "clean": accuracy_curves.member_agreement(clean.probs),
            "pgd20": accuracy_curves.member_agreement(whole.probs),
        },
        "widths": accuracy_curves.channel_widths(models.dense, list(unquantised.members)),
        **({"rd": rd} if rd else {}),
    }
