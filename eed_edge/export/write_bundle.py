"""Write a bundle: export and calibrate into a temporary folder, check it, then move it into place."""

import hashlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

import eed_edge
from eed_edge import manifest as contract
from eed_edge.arrays import Floats
from eed_edge.atomic_files import atomic_folder, check_place
from eed_edge.errors import BundleError, ExportError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.export.gate.calib_answers import calib_images, member_probs
from eed_edge.export.gate.calibrated_gate import DEFAULT_OPTIONS, GateOptions
from eed_edge.export.gate.calibrated_team import CalibratedTeam, calibrated_team
from eed_edge.export.int8.int8_team import int8_team
from eed_edge.export.int8.quantise import quantise
from eed_edge.export.int8.range_images import Int8Request, range_images
from eed_edge.export.network_graph import to_onnx
from eed_edge.export.parity import check_parity
from eed_edge.files.regular_files import read_regular
from eed_edge.latency.predicted_times import as_metrics
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, DENSE_INT8_FILE, GOLDEN_FILE, MANIFEST_FILE
from eed_edge.provenance import WEIGHTS_METRIC, weights_digest
from eed_edge.runtime.bundle.folder import CARD_FILE
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run

GOLDEN_IMAGES = 16
GOLDEN_KINDS = ("real", "synthetic")


def write_bundle(
    run: Run,
    folder: Path,
    *,
    extra_files: Collection[str] = (),
    int8: Int8Request | None = None,
    golden: str = "real",
    options: GateOptions = DEFAULT_OPTIONS,
) -> contract.Manifest:
    """Export the team of ``run`` with a calibrated gate as the bundle ``folder``.

    Args:
        folder: a new folder, or a bundle to replace.
        extra_files: any of ``dense.onnx``, the unpruned base for comparison, and ``cascade.onnx``, all
            sub-models and the gate in one graph.
        int8: write the sub-models in int8, or ``dense-int8.onnx``, or both.
        golden: the images for ``eed-edge check``: ``real`` calibration images or ``synthetic`` noise.
        options: caps and abstain share. The deadline does not apply to the single file, which cannot
            read a clock. The calibration's results are those under the cap, on which the gate's parameters do
            not depend.

    Raises:
        InputError: a cap of another type or out of range.
        ExportError: torch and onnxruntime disagree, int8 loses more than the gate's ``max_drop``, or
            ``folder`` contains something else.
        CheckpointError: joint training has not finished.
        StorageError: the disk is full, or another process writes there; an earlier bundle is untouched.
    """
    _check_target(folder)
    ensemble, images = run.ensemble(), calib_images(run.calib(), run.recipe.gate)
    team = _float_team(ensemble, images, run, options)
    if int8 is not None and int8.submodels:
        team = int8_team(team, images, run, train=int8.train, options=options)
    with atomic_folder(folder) as target:
        dense = _write_dense(run, images, int8, target, float32=DENSE_FILE in extra_files)
        (target / GOLDEN_FILE).write_bytes(_golden(team, _golden_images(run, images, golden), dense))
        entries = _submodels(run, team.models, target)
        manifest = _manifest(run, entries, team, target)
        if CASCADE_FILE in extra_files:
            (target / CASCADE_FILE).write_bytes(to_cascade(team.models, manifest))
            manifest = _manifest(run, entries, team, target)
        (target / MANIFEST_FILE).write_bytes(contract.dump_manifest(manifest))
        check_parity(target, team.members, list(team.images))
    return contract.parse_manifest((folder / MANIFEST_FILE).read_bytes())


def _float_team(ensemble: Ensemble, images: Images, run: Run, options: GateOptions) -> CalibratedTeam:
    """Export each member and calibrate the gate on the members in torch."""
    example = as_float(images.images[:1])
    models = tuple(to_onnx(member, example) for member in ensemble.members)
    return calibrated_team(models, "float32", ensemble, ensemble, images, run, options)


def _write_dense(
    run: Run, images: Images, int8: Int8Request | None, target: Path, *, float32: bool
) -> nn.Module | None:
    """Write the unpruned base in the precisions that were asked for; return it if float32 is among them."""
    if not float32 and (int8 is None or not int8.dense):
        return None
    base = run.base()
    model = to_onnx(base, as_float(images.images[:1]))
    if float32:
        (target / DENSE_FILE).write_bytes(model)
    if int8 is not None and int8.dense:
        (target / DENSE_INT8_FILE).write_bytes(quantise(model, range_images(base, int8.train, run)))
    return base if float32 else None


def _submodels(run: Run, models: Sequence[bytes], target: Path) -> tuple[contract.SubmodelEntry, ...]:
    """Write each sub-model into ``target``; return the manifest's entries."""
    entries = []
    for i, (data, (_, record)) in enumerate(zip(models, run.members(), strict=True)):
        pruning = record["pruning"]
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


def _golden_images(run: Run, images: Images, golden: str) -> Floats:
    """The first calibration images, or noise of their shape, ``(n, c, h, w)``."""
    real: Floats = as_float(images.images[:GOLDEN_IMAGES]).contiguous().numpy()
    if golden == "synthetic":
        return np.random.default_rng(run.recipe.seed).random(real.shape, np.float32)
    return real


def _check_target(folder: Path) -> None:
    """Raise unless the folder is new, empty, or a bundle without other files: only these may be replaced."""
    check_place(folder, folder=True)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names and (folder.is_dir() or not folder.exists()):
        return
    try:
        old = contract.parse_manifest(read_regular(folder / MANIFEST_FILE))
        listed = {entry.file for entry in old.submodels} | set(old.files) | {MANIFEST_FILE, CARD_FILE}
    except (OSError, BundleError):
        listed = set()
    if not names or not names <= listed:
        got = (
            "a run" if "run.json" in names else f"a folder with {min(names - listed)}" if names else "a file"
        )
        raise ExportError(
            f"{folder}: expected a new folder or a bundle to replace, got {got}; choose another"
        )


def _golden(team: CalibratedTeam, images: Floats, dense: nn.Module | None) -> bytes:
    spec = team.gate.spec
    answer = replay_rule(
        member_probs(team.members, torch.from_numpy(images)),
        spec.rule,
        spec.parameters_of(spec.rule),
        max_submodels=spec.max_submodels,
        temperatures=team.gate.temperatures,
    )
    stream, more = io.BytesIO(), {}
    if dense is not None:
        more["dense_probs"] = member_probs(Ensemble([dense]).eval(), torch.from_numpy(images))[0]
    np.savez(
        stream,
        **more,
        images=images,
        probs=answer.probs,
        labels=answer.labels,
        submodels_used=answer.submodels_used,
    )
    return stream.getvalue()


def _manifest(
    run: Run, entries: tuple[contract.SubmodelEntry, ...], team: CalibratedTeam, target: Path
) -> contract.Manifest:
    return contract.Manifest(
        name=run.recipe.name,
        precision=team.precision,
        created_by=contract.CreatedBy(tool="eed-edge", version=eed_edge.__version__),
        classes=run.classes,
        input=run.input,
        submodels=entries,
        gate=team.gate.spec,
        calibration=team.gate.calibration,
        temperatures=team.gate.temperatures,
        abstain=team.gate.abstain,
        metrics={
            WEIGHTS_METRIC: weights_digest(run.member_paths()),
            **as_metrics([record["pruning"] for _, record in run.members()], precision=team.precision),
            **team.metrics,
        },
        files={
            path.name: contract.FileEntry(
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size
            )
            for path in sorted(target.iterdir())
            if path.name not in {entry.file for entry in entries}
        },
    )
