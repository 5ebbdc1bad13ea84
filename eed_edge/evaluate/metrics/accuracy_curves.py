"""The report's curves: thresholds, eps, stopping, agreement, robust diversity and widths.

Every sub-model is asked once about every image; the rules are then replayed on what it said by the
runtime's own code.
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
from eed_edge.attacks.base import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.evaluate.models_compared import ModelsCompared, Watch
from eed_edge.export.calibration import NEVER_STOP
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.single_image import Submodel
from eed_edge.runtime.gates.batch_rules import replay_rule
from eed_edge.runtime.measure.timing import interleaved
from eed_edge.train.data.batches import Images, as_float

BATCH = 250
EPS_SHARES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Radii of the curve, in units of the recipe's eps."""
TIMED_IMAGES = 100
Answer = Callable[[Tensor], NDArray[np.int64]]


@dataclass(frozen=True)
class CurveLabels:
    """What every sub-model says of ``n`` images.

    clean: ``(members, n, k)`` float32 probabilities.
    attacked: ``(prefixes, members, n, k)``, on the images made against each prefix of the members.
    labels: ``(n,)`` true classes.
    """

    clean: Floats
    attacked: Floats
    labels: NDArray[np.int64]


def submodel_ms(deployed: Cascade, images: Tensor) -> list[float]:
    """Mean time of each sub-model for one image, in milliseconds, the sub-models taking turns.

    Args:
        images: ``(n, c, h, w)`` in [0, 1]; the first ``TIMED_IMAGES`` are used.
    """
    given, name = _numpy(images[:TIMED_IMAGES]), deployed.manifest.input.name

    def run(submodel: Submodel, i: int) -> None:
        submodel.session.run([submodel.output], {name: given[i : i + 1]})

    calls = {str(t): partial(run, submodel) for t, submodel in enumerate(deployed.submodels)}
    return [float(times.mean()) for times in interleaved(calls, items=len(given), repeats=3).values()]


def threshold_curve(answers: CurveLabels, gate: StopRule, *, times_ms: Sequence[float]) -> dict[str, Any]:
    """Accuracy and mean latency over the settings of the gate's own rule, the deployed one among them.

    Args:
        times_ms: mean time of each sub-model; an image costs the sum of those that ran for it.

    Returns:
        ``{rule, images, rows}``, rows from the setting that runs the fewest sub-models to the one
        that runs the most; of settings that come to the same, one. ``threshold`` is the confidence, the
        votes, or ``g`` with the deployed ``k``; a confidence of 2 never stops early. ``attacked``
        counts images that are right clean and in every attacked version.
    """
    cost, name = np.cumsum(times_ms), _FIRST[gate.rule]
    rows: dict[tuple[float, float, float], dict[str, Any]] = {}
    for value in _grid(gate, members=len(answers.clean)):
        parameters = {**gate.parameters, name: value}
        clean, *attacked = (
            replay_rule(probs, gate.rule, parameters, max_submodels=gate.max_submodels)
            for probs in (answers.clean, *answers.attacked)
        )
        right = clean.labels == answers.labels
        survived = np.logical_and.reduce([right, *(one.labels == answers.labels for one in attacked)])
        used = float(clean.submodels_used.mean())
        outcome = used, float(right.mean()), float(survived.mean())
        if outcome in rows and value != gate.parameters[name]:
            continue
        rows[outcome] = {
            "threshold": float(value),
            "clean": outcome[1],
            "attacked": outcome[2],
            "interval": {"clean": wilson_interval(right), "attacked": wilson_interval(survived)},
            "submodels_used": used,
            "mean_ms": float(cost[clean.submodels_used - 1].mean()),
        }
    return {"rule": gate.rule, "images": len(answers.labels), "rows": [rows[key] for key in sorted(rows)]}


_FIRST = {"confidence": "threshold", "agreement": "votes", "geometric": "g"}
"""The parameter of each rule that the curve moves along."""


def _grid(gate: StopRule, *, members: int) -> list[float]:
    """Values of the rule's first parameter, the deployed one among them."""
    grids: dict[str, Sequence[float]] = {
        "confidence": (*np.linspace(0, 1, 41).tolist(), NEVER_STOP),
        "agreement": range(1, members + 1),
        "geometric": (0.0, *np.geomspace(0.05, 64, 30).tolist(), 1e6),
    }
    return sorted({*grids[gate.rule], gate.parameters[_FIRST[gate.rule]]})


def stopping_shares(submodels_used: NDArray[np.int64], *, members: int) -> list[float]:
    """Share of the images that stop at sub-model 1, 2, …, ``members``."""
    counts = np.bincount(submodels_used - 1, minlength=members)
    return [float(share) for share in counts / len(submodels_used)]


def member_agreement(probs: Floats) -> list[list[float]]:
    """Share of the images on which members i and j give the same label.

    Args:
        probs: ``(members, n, k)``.
    """
    labels = probs.argmax(2)  # (members, n)
    return [[float(share) for share in (labels == one).mean(1)] for one in labels]


def eps_curve(
    defences: ModelsCompared,
    images: Images,
    *,
    eps: float,
    seed: int,
    watch: Watch,
    narrow: nn.Module | None = None,
) -> dict[str, Any]:
    """Accuracy under PGD-20 over radii from 0 to 2 times ``eps``.

    The balls lie within one another, so an image that fell at a radius counts as fallen at every
    larger one and is not attacked again: accuracy never rises along the curve.

    Args:
        eps: the recipe's radius in units of the [0, 1] range.
        narrow: the static narrow network, if there is one.

    Returns:
        ``{images, rows: [{eps_255, dense, static, dynamic, narrow, interval}]}``; dynamic is right on
        the clean image and on those made against every prefix.
    """
    given, labels = as_float(images.images), images.labels
    nets: dict[str, nn.Module] = {"dense": defences.dense, "static": defences.ensemble}
    if narrow is not None:
        nets["narrow"] = narrow
    judged: dict[str, tuple[Sequence[nn.Module], Answer]] = {
        name: ([net], partial(_labels, net)) for name, net in nets.items()
    }
    judged["dynamic"] = defences.prefixes, partial(_deployed_labels, defences.deployed)
    right = {name: np.ones(len(images), np.bool_) for name in judged}
    rows = []
    for i, share in enumerate(EPS_SHARES):
        for j, (name, (targets, answer)) in enumerate(judged.items(), 1):
            for target in targets if share else targets[:1]:
                _attack_rest(target, answer, given, labels, right[name], Threat(share * eps, seed))
            watch("eps", i * len(judged) + j, len(EPS_SHARES) * len(judged))
        rows.append(
            {
                "eps_255": share * eps * 255,
                **{name: float(each.mean()) for name, each in right.items()},
                "interval": {name: wilson_interval(each) for name, each in right.items()},
            }
        )
    return {"images": len(images), "rows": rows}


def _attack_rest(
    target: nn.Module,
    answer: Answer,
    images: Tensor,
    labels: Tensor,
    right: Bools,
    threat: Threat,
) -> None:
    """Attack the images still ``right``, which is brought up to date."""
    rows = np.flatnonzero(right)
    for at in range(0, len(rows), BATCH):
        part = rows[at : at + BATCH]
        batch, truth = images[part], labels[part]
        if threat.eps:
            batch = PGD()(target, batch, truth, threat)
        right[part] = answer(batch) == truth.cpu().numpy()


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
    """Robust diversity against team size, as ``selection.json`` records it; None where it does not.

    Args:
        threshold: what the rule ``paper`` asks for.

    Source:
        EED, figure 4.
    """
    if "rd_by_size" not in selection:
        return None
    chosen = {"size": len(selection["members"]), "rd": selection["rd"]}
    return {"threshold": threshold, "rows": selection["rd_by_size"], "chosen": chosen}


def channel_widths(dense: nn.Module, members: Sequence[nn.Module]) -> dict[str, Any]:
    """Output channels of every convolution and linear layer; 0 where a member lost the whole branch."""
    whole, *each = (_channels(net) for net in (dense, *members))
    return {
        "layers": [name.removeprefix("body.") for name in whole],
        "dense": list(whole.values()),
        "each": [[own.get(name, 0) for name in whole] for own in each],
    }


def _channels(net: nn.Module) -> dict[str, int]:
    return {
        name: int(module.weight.shape[1 if module.transposed else 0])
        if isinstance(module, nn.modules.conv._ConvNd)
        else int(module.out_features)
        for name, module in net.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    }
