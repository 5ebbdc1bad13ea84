"""Narrow baseline: a static network matched in latency and training compute.

The plan made before training is stored in ``narrow.json``, so that a stopped training resumes with it.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge import report, schema
from eed_edge.arrays import Floats
from eed_edge.atomic_files import write_atomic, write_json
from eed_edge.errors import CheckpointError
from eed_edge.evaluate.baselines import training_cost
from eed_edge.evaluate.baselines.latency_match import network_size, reinitialised, widest_within
from eed_edge.export.network_graph import to_onnx
from eed_edge.provenance import check_exported_from, weights_digest
from eed_edge.recipe import Base
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.measure.benchmark import NARROW_FILE
from eed_edge.seeds import narrow_seed
from eed_edge.train import base
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import splits as data
from eed_edge.train.data.batches import Images, as_float, on_device
from eed_edge.train.networks import checkpoint
from eed_edge.train.run_folder import Run, read_json
from eed_edge.train.system.devices import choose_device, reraise_out_of_memory
from eed_edge.train.system.epoch_log import EpochLog
from eed_edge.train.system.run_lock import locked

log = logging.getLogger(__name__)
TIMED_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Widths, latency and length of the training, decided before it.

    widths: group root to channels.
    mean_ms, target_ms: latency per image of this network, and the target.
    epochs, by_hand: length of the training, and whether the user set it.
    macs: multiply-accumulates of the run's stages and of this training.
    team: digest of the team's weights; empty when the user set the latency.
    """

    widths: dict[str, int]
    mean_ms: float
    target_ms: float
    epochs: int
    by_hand: bool
    macs: dict[str, float]
    team: str


def train_narrow(
    run: Run,
    bundle: Path | None,
    root: Path | None,
    *,
    epochs: int | None = None,
    mean_ms: float | None = None,
    context: TrainingContext,
    command: str = "",
) -> dict[str, Any]:
    """Train the narrow network; write its weights, its ONNX file and the report's ``narrow`` into the run.

    Only train and tune images are read. A training that was stopped is resumed.

    Args:
        bundle: exported from the run; its mean latency on tune images is the target.
        root: where the images lie, as in training.
        epochs: length of the training; None takes as many as the compute of the run pays for.
        mean_ms: target latency in place of the bundle's.
        context: callbacks, time limit and device.
        command: recorded as the command that made these figures.

    Returns:
        The report's ``narrow``.

    Raises:
        Paused: the time limit has expired before the end.
        CheckpointError: a stage of the run is missing, bundle, images or an earlier plan do not fit, or
            another process works on the run.
    """
    with locked(run.path):
        device = choose_device(context.device)
        splits = data.splits_for_recipe(run.recipe, root)
        run.check_data(splits)
        with reraise_out_of_memory(f"lower base.batch (now {run.recipe.base.batch})"):
            train_images, tune = on_device(splits.train, device), on_device(splits.tune, device)
            image = as_float(tune.images[:1]).cpu()
            plan = _load_or_make_plan(run, bundle, train_images, tune, epochs=epochs, mean_ms=mean_ms)
            path = run.path / "narrow.safetensors"
            if not path.exists():
                net = reinitialised(run.base(), plan.widths, image, seed=narrow_seed(run.recipe.seed)).to(
                    device
                )
                cfg = training_cost.with_epochs(run.recipe.base, plan.epochs)
                _fit(run, net, train_images, tune, cfg=cfg, path=path, context=context)
        net, record = checkpoint.load_network(path)
        write_atomic(run.path / NARROW_FILE, to_onnx(net, image))
        figures = {**network_size(net, image), **_figures(run, plan, record)}
        report.merge_report(
            run.path / "report.json",
            {"machine": report.machine(), "commands": {"narrow": command}, "narrow": figures},
        )
        return figures


def _figures(run: Run, plan: Plan, record: Mapping[str, Any]) -> dict[str, Any]:
    """The report's ``narrow`` without the network's size."""
    return {
        "mean_ms": plan.mean_ms,
        "target_ms": plan.target_ms,
        "ratio": plan.mean_ms / plan.target_ms,
        "widths": plan.widths,
        "epochs": plan.epochs,
        "budget": {
            "counted": training_cost.counted(run.recipe),
            "epochs_by_hand": plan.by_hand,
            "macs": plan.macs,
        },
        "training": record["training"],
        "history": record["history"],
    }


def _fit(
    run: Run, net: Any, train: Images, tune: Images, *, cfg: Base, path: Path, context: TrainingContext
) -> None:
    """Train ``net`` like the base and save its best weights to ``path``."""
    state = run.path / "narrow.state"
    context = dataclasses.replace(
        context,
        callbacks=(EpochLog(run.path / "log.jsonl").record, *context.callbacks),
        stage="narrow",
        seed=narrow_seed(run.recipe.seed),
        augment=run.recipe.data,
        state=state,
    )
    result = base.train_base(net, train, tune, cfg=cfg, context=context)
    net.load_state_dict(result.best)
    checkpoint.save_network(path, net, {"training": result.summary, "history": result.history})
    state.unlink(missing_ok=True)


def _load_or_make_plan(
    run: Run, bundle: Path | None, train: Images, tune: Images, *, epochs: int | None, mean_ms: float | None
) -> Plan:
    """Load the plan of ``narrow.json``, or make and store a new one."""
    dynamic: Callable[[Floats], object] | None = None
    team = ""
    if bundle is not None:
        deployed = load_bundle(bundle, deadline_ms=math.inf)
        check_exported_from(deployed.manifest, run.path, run.member_paths())
        dynamic, team = deployed, weights_digest(run.member_paths())
    path = run.path / "narrow.json"
    if path.exists():
        return _load_plan(path, team=team, epochs=epochs)
    dense, images = run.base(), as_float(tune.images[:TIMED_IMAGES]).cpu()
    match = widest_within(
        dense,
        np.ascontiguousarray(images.numpy()),
        dynamic=dynamic,
        mean_ms=mean_ms,
        round_to=run.recipe.prune.round_to,
        seed=run.recipe.seed,
    )
    cost = network_size(reinitialised(dense, match.widths, images[:1], seed=0), images[:1])["macs"]
    macs = {} if epochs else training_cost.run_cost(run)
    if epochs is None:
        cfg = training_cost.epochs_for_budget(macs["total"], run.recipe.base, cost=cost, images=len(train))
    else:
        cfg = training_cost.with_epochs(run.recipe.base, epochs)
    plan = Plan(
        **asdict(match),
        epochs=cfg.epochs,
        by_hand=epochs is not None,
        macs={**macs, "narrow": training_cost.training_macs(cfg, cost=cost, images=len(train))},
        team=team,
    )
    log.info("narrow: %d epochs%s", plan.epochs, "" if epochs is None else ", asked for by hand")
    write_json(path, asdict(plan))
    return plan


def _load_plan(path: Path, *, team: str, epochs: int | None) -> Plan:
    try:
        plan = schema.read_typed(Plan, read_json(path), path.name)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it and narrow.* beside it") from error
    if plan.team and team and plan.team != team:
        raise CheckpointError(f"{path} was made for another team; delete it and narrow.* beside it")
    if epochs is not None and epochs != plan.epochs:
        raise CheckpointError(
            f"{path}: expected --epochs {plan.epochs}, got {epochs}; delete it and narrow.* beside it"
        )
    return plan
