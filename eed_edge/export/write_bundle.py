"""Write a bundle: export and calibrate into a temporary folder, check it, then move it into place."""

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
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.errors import BundleError, ExportError
from eed_edge.export.calibration import GateSetting, MemberProbs, calibrate
from eed_edge.export.cascade_graph import PROBABILITIES, USED, to_cascade
from eed_edge.export.network_graph import INPUT, to_onnx
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, GOLDEN_FILE, MANIFEST_FILE
from eed_edge.provenance import WEIGHTS_METRIC, weights_digest
from eed_edge.recipe import Gate
from eed_edge.regular_files import read_regular
from eed_edge.runtime import arguments
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.seeds import prefix_seed
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.data.splits import Split
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.validation import VALIDATION_BATCH

log = logging.getLogger(__name__)
GOLDEN_IMAGES = 16
LARGEST_DIFFERENCE = 1e-4
"""Largest difference of a logit between torch and onnxruntime, times the largest logit if that is above 1."""
PARITY_IMAGES = 256
CALIB_IMAGES = 1000
"""Calibration images without ``guarantee``; more would only cost attack time."""


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
        folder: a new folder, or a bundle to replace.
        with_dense: also write the unpruned base, for comparison.
        single_file: also write ``cascade.onnx``, all sub-models and the gate in one graph.
        golden: the images for ``eed-edge check``: ``real`` calibration images or ``synthetic`` noise.
        max_submodels, deadline_ms: the default caps of ``eed_edge.load``; a single file has no clock. The
            calibration's results are those under the cap, on which the gate's parameters do not depend.

    Raises:
        InputError: a cap of another type or out of range.
        ExportError: torch and onnxruntime disagree, or ``folder`` contains something else.
        CheckpointError: joint training has not finished.
        StorageError: the disk is full, or another process writes there; an earlier bundle is untouched.
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
    settings = calibrate(answers, run.recipe.gate, max_submodels=max_submodels)
    example = as_float(images.images[:1])
    with atomic_folder(folder) as target:
        entries = _submodels(members, example, target)
        if with_dense:
            (target / DENSE_FILE).write_bytes(to_onnx(run.base(), example))
        golden_images = as_float(images.images[:GOLDEN_IMAGES]).contiguous().numpy()
        if golden == "synthetic":
            golden_images = np.random.default_rng(run.recipe.seed).random(golden_images.shape, np.float32)
        gate = _gate(run.recipe.gate.rule, settings, max_submodels, deadline_ms)
        (target / GOLDEN_FILE).write_bytes(_golden(ensemble, golden_images, gate))
        manifest = _manifest(run, entries, gate, settings, len(images), target)
        if single_file:
            models = [(target / entry.file).read_bytes() for entry in entries]
            (target / CASCADE_FILE).write_bytes(to_cascade(models, manifest))
            manifest = _manifest(run, entries, gate, settings, len(images), target)
        (target / MANIFEST_FILE).write_bytes(contract.dump_manifest(manifest))
        check_parity(target, ensemble, [as_float(images.images), *attacked])
    return contract.parse_manifest((folder / MANIFEST_FILE).read_bytes())


def calib_images(calib: Split, cfg: Gate) -> Images:
    """Return the calibration images: the first 1,000, or with ``guarantee`` all, which tightens the bound."""
    limit = None if cfg.guarantee else CALIB_IMAGES
    return Images(torch.from_numpy(calib.images[:limit].copy()), torch.from_numpy(calib.labels[:limit]))


def _submodels(
    members: Sequence[tuple[nn.Module, Mapping[str, Any]]], example: Tensor, target: Path
) -> tuple[contract.SubmodelEntry, ...]:
    """Export each member as an ONNX file into ``target``; return the manifest's entries."""
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
    """Attack the images by PGD against the mean of each prefix; return one ``(n, c, h, w)`` per prefix."""
    eps, attack = run.recipe.base.eps_255 / 255, PGD(steps=run.recipe.gate.steps)
    attacked = []
    for length in range(1, len(ensemble.members) + 1):
        prefix = ensemble.prefix(length)
        threat = Threat(eps, generator=torch.Generator().manual_seed(prefix_seed(run.recipe.seed, length)))
        parts = [
            attack(prefix, batch, labels, threat) for batch, labels in in_order(images, VALIDATION_BATCH)
        ]
        attacked.append(torch.cat(parts))
    return attacked


def member_probs(ensemble: Ensemble, images: Tensor) -> Floats:
    """Return every member's probabilities, ``(members, n, k)`` float32."""
    with torch.no_grad():
        parts = [
            ensemble.member_logits(batch).float().softmax(2)
            for batch in torch.split(images, VALIDATION_BATCH)
        ]
    probs: Floats = torch.cat(parts, 1).numpy()
    return probs


def check_parity(folder: Path, ensemble: Ensemble, images: list[Tensor]) -> None:
    """Compare the exported files with torch: logits, labels and exits.

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
    with torch.no_grad():
        logits = torch.cat(
            [ensemble.member_logits(batch) for batch in torch.split(everything, VALIDATION_BATCH)], 1
        ).numpy()
    pixels = everything.contiguous().numpy()
    _check_logits(deployed, pixels, logits)
    _check_decisions(deployed, folder / CASCADE_FILE, pixels, torch.from_numpy(logits).softmax(2).numpy())


def _check_logits(deployed: Cascade, pixels: Floats, logits: Floats) -> None:
    """Compare every sub-model with the logits from torch, ``(members, n, k)``."""
    for i, (session, output) in enumerate(deployed.submodels):
        batches = [pixels[at : at + VALIDATION_BATCH] for at in range(0, len(pixels), VALIDATION_BATCH)]
        exported = np.concatenate([session.run([output], {INPUT: batch})[0] for batch in batches])
        difference = float(np.abs(exported - logits[i]).max())
        allowed = LARGEST_DIFFERENCE * max(1.0, float(np.abs(logits[i]).max()))
        if not difference <= allowed:
            raise ExportError(
                f"submodel-{i}.onnx: logits differ from torch by up to {difference:.2e} on {len(pixels)}"
                f" images, expected at most {allowed:.2e}; the network has an operator that exports inexactly"
            )


def _check_decisions(deployed: Cascade, single_file: Path, pixels: Floats, probs: Floats) -> None:
    """Compare labels and sub-models used with the rule replayed on torch's ``probs``, near-ties apart."""
    rule, parameters, cap = deployed.rule, deployed.parameters, deployed.max_submodels
    expected = replay_rule(probs, rule, parameters, max_submodels=cap)
    answer = deployed(pixels)
    ties = near_ties(probs, rule, parameters, max_submodels=cap)  # float32 may decide either way
    if ties.any():
        log.info("%d of %d images are within 1e-5 of a tie, not compared", int(ties.sum()), len(pixels))
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


def _check_target(folder: Path) -> None:
    """Raise unless the folder is new, empty, or a bundle without other files: only these may be replaced."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names and (folder.is_dir() or not folder.exists()):
        return
    try:
        old = contract.parse_manifest(read_regular(folder / MANIFEST_FILE))
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
    rule: str, settings: dict[str, GateSetting], max_submodels: int | None, deadline_ms: float | None
) -> contract.GateSpec:
    parameters = contract.GateParameters(
        confidence=contract.Confidence(**settings["confidence"].parameters),
        agreement=contract.Agreement(votes=int(settings["agreement"].parameters["votes"])),
        geometric=contract.Geometric(**settings["geometric"].parameters),
    )
    return contract.GateSpec(rule, parameters, max_submodels, deadline_ms)  # type: ignore[arg-type]


def _manifest(
    run: Run,
    entries: tuple[contract.SubmodelEntry, ...],
    spec: contract.GateSpec,
    settings: dict[str, GateSetting],
    images: int,
    target: Path,
) -> contract.Manifest:
    gate = run.recipe.gate
    losses = {
        rule: contract.RuleLoss(**{key: value for key, value in asdict(one).items() if key != "parameters"})
        for rule, one in settings.items()
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
        metrics={WEIGHTS_METRIC: weights_digest(run.member_paths())},
        files={
            path.name: contract.FileEntry(
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size
            )
            for path in sorted(target.iterdir())
            if path.name not in {entry.file for entry in entries}
        },
    )
