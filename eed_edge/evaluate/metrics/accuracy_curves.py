"""Curves of the report: thresholds, eps, stopping, agreement, robust diversity and channel widths.

Every sub-model runs once on every image; the runtime's code then replays the rules on its probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eed_edge.arrays import Bools, Floats
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.measure.clock import ROUNDS, in_blocks
from eed_edge.runtime.measure.prefixes import prefix_cascades
from eed_edge.train.data.batches import Images, as_float, images_at_once

BATCH = 250
EPS_SHARES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Radii of the curve, in units of the recipe's eps."""
TIMED_IMAGES = 100
Answer = Callable[[Tensor], NDArray[np.int64]]


@dataclass(frozen=True)
class CurveLabels:
    """Recorded probabilities of every sub-model on ``n`` images, and their labels.

    clean: ``(members, n, k)`` float32 probabilities.
    attacked: ``(prefixes, members, n, k)``, on the images attacked against each prefix; no prefixes without
        attacks.
    labels: ``(n,)`` true classes.
    """

    clean: Floats
    attacked: Floats
    labels: NDArray[np.int64]


def prefix_ms(deployed: Cascade, images: Tensor) -> list[float]:
    """Return the mean milliseconds of an image on which the first t sub-models run, for t = 1, 2, …

    Each is timed as it runs, not as a sum of sub-models: after one sub-model, the caches are not those of the
    next.

    Args:
        images: ``(n, c, h, w)`` in [0, 1]; the first ``TIMED_IMAGES`` are used.
    """
    timed = _numpy(images[:TIMED_IMAGES])

    def run(prefix: Cascade, i: int) -> Prediction:
        return prefix(timed[i : i + 1])

    calls = {str(t): partial(run, prefix) for t, prefix in enumerate(prefix_cascades(deployed), 1)}
    return [float(times.mean()) for times in in_blocks(calls, items=len(timed), rounds=ROUNDS).values()]


def threshold_curve(answers: CurveLabels, gate: StopRule, *, times_ms: Sequence[float]) -> dict[str, Any]:
    """Return accuracy and mean latency over the settings of the gate's rule, the deployed one included.

    Args:
        times_ms: mean time of each prefix, as ``prefix_ms`` measures it; that of an image is its prefix's.

    Returns:
        ``{rule, images, rows}``, rows by rising number of sub-models used; settings with equal results
        share one row. ``threshold`` is the confidence, equal at all stops, the
        votes, or ``g`` with the deployed ``k``; a confidence of 2 never stops early. ``attacked``
        counts images that are right clean and in every attacked version; it is left out without attacks.
        The row of the deployed setting has ``deployed`` true, and ``thresholds`` where it has one per stop.
    """
    cost, name = np.array(times_ms), GATE_RULES[gate.rule].parameter_names[0]
    rest = {key: value for key, value in gate.parameters.items() if key not in (name, "thresholds")}
    settings = [
        {name: value, **rest} for value in sorted(GATE_RULES[gate.rule].curve_values(len(answers.clean)))
    ]
    rows: dict[tuple[float, float, float], dict[str, Any]] = {}
    for parameters in (gate.parameters, *settings):
        clean, *attacked = (
            replay_rule(probs, gate.rule, parameters, max_submodels=gate.max_submodels)
            for probs in (answers.clean, *answers.attacked)
        )
        correct = clean.labels == answers.labels
        robust = np.logical_and.reduce([correct, *(each.labels == answers.labels for each in attacked)])
        used = float(clean.submodels_used.mean())
        outcome = used, float(correct.mean()), float(robust.mean())
        if outcome in rows:
            continue
        rows[outcome] = {
            "threshold": float(parameters[name]),
            "clean": outcome[1],
            **({"attacked": outcome[2]} if attacked else {}),
            "interval": {
                "clean": wilson_interval(correct),
                **({"attacked": wilson_interval(robust)} if attacked else {}),
            },
            "submodels_used": used,
            "mean_ms": float(cost[clean.submodels_used - 1].mean()),
        }
        if parameters is gate.parameters:
            rows[outcome] |= _deployed_setting(gate)
    return {"rule": gate.rule, "images": len(answers.labels), "rows": [rows[key] for key in sorted(rows)]}


def _deployed_setting(gate: StopRule) -> dict[str, Any]:
    thresholds = gate.parameters.get("thresholds")
    return {"deployed": True, **({"thresholds": list(thresholds)} if thresholds else {})}


def stopping_shares(submodels_used: NDArray[np.int64], *, members: int) -> list[float]:
    """Return the share of images that stop at sub-model 1, 2, …, ``members``."""
    counts = np.bincount(submodels_used - 1, minlength=members)
    return [float(share) for share in counts / len(submodels_used)]


def member_agreement(probs: Floats) -> list[list[float]]:
    """Return, for members i and j, the share of images with the same label.

    Args:
        probs: ``(members, n, k)``.
    """
    labels = probs.argmax(2)  # (members, n)
    return [[float(share) for share in (labels == one).mean(1)] for one in labels]


def eps_curve(
    models: ModelsCompared,
    images: Images,
    *,
    eps: float,
    seed: int,
    on_progress: ProgressCallback,
    baselines: Mapping[str, nn.Module],
) -> dict[str, Any]:
    """Return accuracy under PGD-20 over radii from 0 to 2 times ``eps``.

    The balls are nested, so an image misclassified at one radius counts as misclassified at every larger one
    and is not attacked again: accuracy never rises along the curve.

    Args:
        eps: the recipe's radius in units of the [0, 1] range.
        baselines: the static networks of the bundle's latency, by name.

    Returns:
        ``{images, rows: [{eps_255, interval, and a share for each network}]}``; dynamic must be
        correct on the clean image and on those attacked against every prefix.
    """
    pixels, labels = as_float(images.images), images.labels
    nets: dict[str, nn.Module] = {"dense": models.dense, "static": models.ensemble, **baselines}
    evaluated: dict[str, tuple[Sequence[nn.Module], Answer]] = {
        name: ([net], partial(_labels, net)) for name, net in nets.items()
    }
    evaluated["dynamic"] = models.prefixes, partial(_deployed_labels, models.deployed)
    correct = {name: np.ones(len(images), np.bool_) for name in evaluated}
    rows = []
    for i, share in enumerate(EPS_SHARES):
        for j, (name, (targets, answer)) in enumerate(evaluated.items(), 1):
            for target in targets if share else targets[:1]:
                _attack_rest(target, answer, pixels, labels, correct[name], Threat(share * eps, seed))
            on_progress("eps", i * len(evaluated) + j, len(EPS_SHARES) * len(evaluated))
        rows.append(
            {
                "eps_255": share * eps * 255,
                **{name: float(mask.mean()) for name, mask in correct.items()},
                "interval": {name: wilson_interval(mask) for name, mask in correct.items()},
            }
        )
    return {"images": len(images), "rows": rows}


def _attack_rest(
    target: nn.Module,
    answer: Answer,
    images: Tensor,
    labels: Tensor,
    correct: Bools,
    threat: Threat,
) -> None:
    """Attack the images that are still classified correctly and update ``correct`` in place."""
    rows = np.flatnonzero(correct)
    size = images_at_once(images, BATCH)
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        batch, truth = images[part], labels[part]
        if threat.eps:
            batch = PGD()(target, batch, truth, threat)
        correct[part] = answer(batch) == truth.cpu().numpy()


def _labels(net: nn.Module, images: Tensor) -> NDArray[np.int64]:
    with torch.no_grad():
        labels: NDArray[np.int64] = net(images).argmax(1).cpu().numpy()
    return labels


def _deployed_labels(deployed: Cascade, images: Tensor) -> NDArray[np.int64]:
    return deployed(_numpy(images)).labels


def _numpy(images: Tensor) -> Floats:
    array: Floats = images.detach().cpu().contiguous().numpy()
    return array


def diversity_curve(selection: Mapping[str, Any], *, threshold: float) -> dict[str, Any] | None:
    """Return robust diversity by team size from ``selection.json``, or None if it is not recorded.

    Args:
        threshold: of the selection rule ``paper``.

    Source:
        EED, figure 4.
    """
    if "rd_by_size" not in selection:
        return None
    selected = {"size": len(selection["members"]), "rd": selection["rd"]}
    return {"threshold": threshold, "rows": selection["rd_by_size"], "chosen": selected}


def channel_widths(dense: nn.Module, members: Sequence[nn.Module]) -> dict[str, Any]:
    """Return the output channels of every convolution and linear layer; 0 where a member lacks the layer."""
    of_dense, *of_members = (_channels(net) for net in (dense, *members))
    return {
        "layers": [name.removeprefix("body.") for name in of_dense],
        "dense": list(of_dense.values()),
        "each": [[widths.get(name, 0) for name in of_dense] for widths in of_members],
    }


def _channels(net: nn.Module) -> dict[str, int]:
    return {
        name: int(module.weight.shape[1 if module.transposed else 0])
        if isinstance(module, nn.modules.conv._ConvNd)
        else int(module.out_features)
        for name, module in net.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    }
