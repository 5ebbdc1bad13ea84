"""Write a run's team as a bundle for devices, from Python."""

import os
from dataclasses import replace
from pathlib import Path

from torch import nn

from eed_edge import arguments
from eed_edge.export.dense_network import keep_dense
from eed_edge.export.gate.calibrated_gate import GateOptions
from eed_edge.export.int8.range_images import Int8Request
from eed_edge.export.sign_bundle import bundle_signer
from eed_edge.export.write_bundle import GOLDEN_KINDS, write_bundle
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, Manifest
from eed_edge.train.data.splits import ImagesSource, splits_for_recipe
from eed_edge.train.networks.network_objects import register_network
from eed_edge.train.run_folder import Run, open_run


def export_bundle(
    run: Run | str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    data: ImagesSource = None,
    *,
    network: nn.Module | None = None,
    int8: bool = False,
    with_dense: bool = False,
    with_dense_int8: bool = False,
    single_file: bool = False,
    golden: str = "real",
    rule: str | None = None,
    max_drop: float | None = None,
    max_submodels: int | None = None,
    deadline_ms: float | None = None,
    abstain_share: float = 0.95,
    private_key: str | os.PathLike[str] | None = None,
) -> Manifest:
    """Calibrate the gate of a run's team and write its bundle; as ``eed-edge export`` does.

    Args:
        run: as ``train_team`` returns it, or its folder.
        bundle: a new folder, or a bundle to replace; it is replaced only by a complete one.
        data: the images as in training; needed for ``int8`` and ``with_dense_int8`` alone.
        network: the network that was passed to ``train_team``, if that was another process.
        int8: quantise the sub-models; refused if they lose more than ``max_drop``.
        with_dense, with_dense_int8: add ``dense.onnx``, the unpruned base, or the same in int8.
        single_file: add ``cascade.onnx``, the ensemble and its gate in one graph.
        golden: what ``eed-edge check`` answers: ``real`` images of calib, or ``synthetic`` noise.
        rule: ``confidence``, ``agreement`` or ``geometric``; None takes the recipe's.
        max_drop: share of calib images that stopping early, or int8, may lose; None takes the recipe's.
        max_submodels: default cap of sub-models for an image.
        deadline_ms: default time limit for a call; ``cascade.onnx`` has no clock.
        abstain_share: share of the right answers on calib that the abstain threshold leaves.
        private_key: PEM file of a key to sign the bundle with; the signature is ``BUNDLE.sig``.

    Returns:
        The bundle's manifest.

    Raises:
        InputError: an option of another type or out of range.
        ExportError: torch and onnxruntime disagree, int8 loses too much, or the folder holds something else.
        CheckpointError: joint training has not finished, or ``data`` are other images.
        StorageError: the disk is full; an earlier bundle is untouched.
    """
    arguments.one_of("golden", golden, GOLDEN_KINDS)
    if rule is not None:
        arguments.one_of("rule", rule, GATE_RULES)
    if max_drop is not None:
        arguments.number_from_0("max_drop", max_drop, most=1)
    if network is not None:
        register_network(network)
    sign = None if private_key is None else bundle_signer(Path(private_key))  # refused before the work
    options = GateOptions(max_submodels, deadline_ms, abstain_share)
    opened, folder = run if isinstance(run, Run) else open_run(Path(run)), Path(bundle)
    cfg = opened.recipe.gate
    gate = replace(cfg, rule=rule or cfg.rule, max_drop=cfg.max_drop if max_drop is None else max_drop)
    request = None
    if int8 or with_dense_int8:
        splits = splits_for_recipe(opened.recipe, data)
        opened.check_data(splits)
        request = Int8Request(splits.train, submodels=int8, dense=with_dense_int8)
    made = write_bundle(
        replace(opened, recipe=replace(opened.recipe, gate=gate)),
        folder,
        extra_files=[
            name for name, asked in ((DENSE_FILE, with_dense), (CASCADE_FILE, single_file)) if asked
        ],
        int8=request,
        golden=golden,
        options=options,
    )
    keep_dense(opened, folder)
    if sign is not None:
        sign(folder)
    return made
