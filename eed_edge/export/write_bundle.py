"""Write a bundle: every member and the manifest into a new folder, checked before it takes its place."""

import hashlib
import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import eed_edge
from eed_edge import manifest as contract
from eed_edge.arrays import Floats
from eed_edge.atomic_files import atomic_folder
from eed_edge.attacks.base import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.errors import BundleError, ExportError
from eed_edge.export.calibration import GateSetting, MemberProbs, calibrate
from eed_edge.export.cascade_graph import PROBABILITIES, USED, to_cascade
from eed_edge.export.network_graph import INPUT, to_onnx
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, GOLDEN_FILE, MANIFEST_FILE
from eed_edge.recipe import Gate
from eed_edge.runtime import arguments
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.gates.batch_rules import replay_rule
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.data.splits import Split
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import WEIGHTS, Run
from eed_edge.train.validation import VALIDATION_BATCH

log = logging.getLogger(__name__)
GOLDEN_IMAGES = 16
LARGEST_DIFFERENCE = 1e-4
"""How far logits from torch and onnxruntime may lie apart; times the largest logit where that is above 1."""
PARITY_IMAGES = 256
CALIB_IMAGES = 1000
"""The gate is set on at most this many calib images unless it has to be guaranteed: attacks take time."""


def write_bundle(
    run: Run,
    folder: Path,
    *,
    with_dense: bool = False,
    single_file: bool = False,
    golden: str = "real",
    max_submodels: int | None = None,
    deadline_ms: float | None = None,
) -> contract.Manifest:
    """Export the team of ``run`` with a calibrated gate as the bundle ``folder``.

    Args:
        folder: a new folder, or a bundle that is to be replaced.
        with_dense: also write the unpruned base, for comparison.
        single_file: also write the whole ensemble with its gate as ``cascade.onnx``.
        golden: ``real`` keeps a few calib images for ``eed-edge check``; ``synthetic`` random ones.
        max_submodels, deadline_ms: the bundle's caps unless ``eed_edge.load`` is told otherwise; a graph
            has no clock, so only the first holds for the single file. The figures of the calibration
            are those under the cap; the gate's parameters do not depend on it.

    Raises:
        InputError: a cap of another type or out of range.
        ExportError: torch and onnxruntime disagree, or ``folder`` holds something else.
        CheckpointError: joint training has not finished.
        StorageError: the disk is full; what was there before is untouched.
    """
    if max_submodels is not None:
        arguments.positive_int("max_submodels", max_submodels, advice="the first sub-model always runs")
    deadline_ms = arguments.deadline(deadline_ms)
    _check_target(folder)
    members, images = run.members(), calib_images(run.calib(), run.recipe.gate)
    ensemble = Ensemble([net for net, _ in members]).eval()
    attacked = attack_prefixes(ensemble, images, run)
    answers = MemberProbs(
        clean=member_probs(ensemble, as_float(images.images)),
        attacked=tuple(member_probs(ensemble, part) for part in attacked),
        labels=images.labels.numpy(),
    )
    tried = calibrate(answers, run.recipe.gate, max_submodels=max_submodels)
    example = as_float(images.images[:1])
    with atomic_folder(folder) as target:
        entries = _submodels(members, example, target)
        if with_dense:
            (target / DENSE_FILE).write_bytes(to_onnx(run.base(), example))
        shown = as_float(images.images[:GOLDEN_IMAGES]).contiguous().numpy()
        if golden == "synthetic":
            shown = np.random.default_rng(run.recipe.seed).random(shown.shape, np.float32)
        gate = _gate(run.recipe.gate.rule, tried, max_submodels, deadline_ms)
        (target / GOLDEN_FILE).write_bytes(_golden(ensemble, shown, gate))
        made = _manifest(run, entries, gate, tried, len(images), target)
        if single_file:
            models = [(target / entry.file).read_bytes() for entry in entries]
            (target / CASCADE_FILE).write_bytes(to_cascade(models, made))
            made = _manifest(run, entries, gate, tried, len(images), target)
        (target / MANIFEST_FILE).write_bytes(contract.dump_manifest(made))
        check_parity(target, ensemble, [as_float(images.images), *attacked])
    return contract.parse_manifest((folder / MANIFEST_FILE).read_bytes())


def calib_images(calib: Split, cfg: Gate) -> Images:
    """The images the gate is set on: the first 1,000 of ``calib``, or all where more make a tighter bound."""
    most = None if cfg.guarantee else CALIB_IMAGES
    return Images(torch.from_numpy(calib.images[:most].copy()), torch.from_numpy(calib.labels[:most]))


def _submodels(
    members: Sequence[tuple[nn.Module, Mapping[str, Any]]], example: Tensor, target: Path
) -> tuple[contract.SubmodelEntry, ...]:
    """Write each member as an ONNX file into ``target``."""
    entries = []
    for i, (net, record) in enumerate(members):
        data, pruning = to_onnx(net, example), record["pruning"]
        (target / f"submodel-{i}.onnx").write_bytes(data)
        entries.append(
            contract.SubmodelEntry(
                file=f"submodel-{i}.onnx",
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
                params=pruning["params"],
                macs=pruning["macs"],
                importance=pruning["importance"],
                subset=pruning["subset"],
            )
        )
    return tuple(entries)


def attack_prefixes(ensemble: Ensemble, images: Images, run: Run) -> list[Tensor]:
    """For each prefix, the images attacked by PGD against its mean, float ``(n, c, h, w)``."""
    eps, attack = run.recipe.base.eps_255 / 255, PGD(steps=run.recipe.gate.steps)
    made = []
    for length in range(1, len(ensemble.members) + 1):
        prefix = ensemble.prefix(length)
        threat = Threat(eps, generator=torch.Generator().manual_seed(run.recipe.seed + length))
        parts = [
            attack(prefix, batch, labels, threat) for batch, labels in in_order(images, VALIDATION_BATCH)
        ]
        made.append(torch.cat(parts))
    return made


def member_probs(ensemble: Ensemble, images: Tensor) -> Floats:
    """Every member's probabilities, ``(members, n, k)`` float32."""
    with torch.no_grad():
        parts = [
            ensemble.member_logits(batch).float().softmax(2)
            for batch in torch.split(images, VALIDATION_BATCH)
        ]
    probs: Floats = torch.cat(parts, 1).numpy()
    return probs


def check_parity(folder: Path, ensemble: Ensemble, images: list[Tensor]) -> None:
    """Compare the written files with torch: logits, answers and where the gate stops.

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
    given = everything.contiguous().numpy()
    with torch.no_grad():
        logits = torch.cat(
            [ensemble.member_logits(batch) for batch in torch.split(everything, VALIDATION_BATCH)], 1
        ).numpy()
    for i, (session, output) in enumerate(deployed.submodels):
        parts = [given[at : at + VALIDATION_BATCH] for at in range(0, len(given), VALIDATION_BATCH)]
        found = np.concatenate([session.run([output], {INPUT: part})[0] for part in parts])
        difference = float(np.abs(found - logits[i]).max())
        allowed = LARGEST_DIFFERENCE * max(1.0, float(np.abs(logits[i]).max()))
        if not difference <= allowed:
            raise ExportError(
                f"submodel-{i}.onnx: logits differ from torch by up to {difference:.2e} on {len(given)}"
                f" images, expected at most {allowed:.2e}; the network has an operator that exports inexactly"
            )
    gate = deployed.manifest.gate
    probs = torch.from_numpy(logits).softmax(2).numpy()
    parameters, cap = gate.parameters_of(gate.rule), deployed.max_submodels
    wanted = replay_rule(probs, gate.rule, parameters, max_submodels=cap)
    answer = deployed(given)
    # There float32 may decide either way.
    ties = near_ties(probs, gate.rule, parameters, max_submodels=cap)
    if ties.any():
        log.info("%d of %d images are within 1e-5 of a tie, not compared", int(ties.sum()), len(given))
    for what in ("labels", "submodels_used"):
        if count := int(((getattr(answer, what) != getattr(wanted, what)) & ~ties).sum()):
            raise ExportError(f"{what} differ between torch and the bundle on {count} of {len(given)} images")
    if CASCADE_FILE in deployed.manifest.files:
        session = open_session((folder / CASCADE_FILE).read_bytes(), CASCADE_FILE)
        means, used = session.run([PROBABILITIES, USED], {INPUT: given})
        differ = (means.argmax(1) != answer.labels) | (used != answer.submodels_used)
        if count := int((differ & ~ties).sum()):
            raise ExportError(f"{CASCADE_FILE} and the sub-models disagree on {count} of {len(given)} images")


def _check_target(folder: Path) -> None:
    """A new or empty folder, or a whole bundle with nothing else in it: only these may be replaced."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names and (folder.is_dir() or not folder.exists()):
        return
    try:
        old = contract.parse_manifest((folder / MANIFEST_FILE).read_bytes())
        listed = {entry.file for entry in old.submodels} | set(old.files) | {MANIFEST_FILE}
    except (OSError, BundleError):
        listed = set()
    if not names or not names <= listed:
        raise ExportError(
            f"{folder}: expected a new folder or a bundle to replace, got something else; choose another"
        )


def _golden(ensemble: Ensemble, images: Floats, gate: contract.GateSpec) -> bytes:
    probs = member_probs(ensemble, torch.from_numpy(images))
    parameters = gate.parameters_of(gate.rule)
    answer = replay_rule(probs, gate.rule, parameters, max_submodels=gate.max_submodels)
    means = np.cumsum(probs, 0, dtype=np.float32)[answer.answer_prefix - 1, np.arange(len(images))]
    stream = io.BytesIO()
    np.savez(
        stream,
        images=images,
        probs=means / answer.answer_prefix[:, None].astype(np.float32),
        labels=answer.labels,
        submodels_used=answer.submodels_used,
    )
    return stream.getvalue()


def _gate(
    rule: str, tried: dict[str, GateSetting], max_submodels: int | None, deadline_ms: float | None
) -> contract.GateSpec:
    parameters = contract.GateParameters(
        confidence=contract.Confidence(**tried["confidence"].parameters),
        agreement=contract.Agreement(votes=int(tried["agreement"].parameters["votes"])),
        geometric=contract.Geometric(**tried["geometric"].parameters),
    )
    return contract.GateSpec(rule, parameters, max_submodels, deadline_ms)  # type: ignore[arg-type]


def _manifest(
    run: Run,
    entries: tuple[contract.SubmodelEntry, ...],
    spec: contract.GateSpec,
    tried: dict[str, GateSetting],
    images: int,
    target: Path,
) -> contract.Manifest:
    gate = run.recipe.gate
    losses = {
        rule: contract.RuleLoss(**{key: value for key, value in asdict(one).items() if key != "parameters"})
        for rule, one in tried.items()
    }
    attack = f"pgd-{gate.steps}, l_inf {run.recipe.base.eps_255:g}/255, against every prefix"
    return contract.Manifest(
        name=run.recipe.name,
        created_by=contract.CreatedBy(tool="eed-edge", version=eed_edge.__version__),
        classes=run.classes,
        input=run.input,
        submodels=entries,
        gate=spec,
        calibration=contract.Calibration(
            images=images, attack=attack, max_drop=gate.max_drop, guarantee=gate.guarantee, **losses
        ),
        metrics={WEIGHTS: run.weights_digest()},
        files={
            path.name: contract.FileEntry(
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size
            )
            for path in sorted(target.iterdir())
            if path.name not in {entry.file for entry in entries}
        },
    )
