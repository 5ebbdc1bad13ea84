"""Train a static baseline of a bundle's mean latency with the team's settings and at most its cost."""

import dataclasses
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eed_edge import report
from eed_edge.atomic_files import write_atomic, write_json
from eed_edge.evaluate.baselines import training_cost
from eed_edge.evaluate.baselines.latency_match import LatencyMatch, LatencyTarget, Widths
from eed_edge.evaluate.baselines.plan import BASE, TEAM, Plan, load_plan
from eed_edge.export.network_graph import to_onnx
from eed_edge.provenance import check_exported_from, weights_digest
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.distilled_loss import distilled_loss
from eed_edge.prune.groups import analyse
from eed_edge.recipe import Base, Pool, Recipe, Training
from eed_edge.report.formats import duration
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.train import base, loop
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import splits as data
from eed_edge.train.data.batches import Images, as_float, on_device
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.soft_labels import add_soft_labels, teacher_passes
from eed_edge.train.run_folder import Run
from eed_edge.train.step_time import BATCH, gradient_seconds, step_seconds
from eed_edge.train.system.devices import choose_device, reraise_out_of_memory
from eed_edge.train.system.epoch_log import EpochLog
from eed_edge.train.system.run_lock import locked

log = logging.getLogger(__name__)
TIMED_IMAGES = 64
PATIENCE = 10
"""Epochs without a gain on tune after which the learning rate is decayed."""


class Baseline(ABC):
    """One kind of static network that is compared with the team.

    name: of its files in the run and of its part of the report.
    pruned: it starts from the base's weights, so that the base is no part of its budget.
    """

    name: str
    pruned: bool

    @abstractmethod
    def seed(self, recipe_seed: int) -> int:
        """Seed of the training."""

    @abstractmethod
    def peak_rate(self, recipe: Recipe) -> tuple[float, int]:
        """Peak learning rate and batch size."""

    @abstractmethod
    def match(self, job: "BaselineJob", target: LatencyTarget) -> tuple[LatencyMatch, Classifier]:
        """Find the widths whose latency is nearest to the target; return them and the untrained network."""

    @abstractmethod
    def network(self, job: "BaselineJob", widths: Widths) -> Classifier:
        """The untrained network again, when the training is resumed."""


@dataclass(frozen=True)
class BaselineJob:
    """The run, its images on the training device, and the caller's training context."""

    run: Run
    train: Images
    tune: Images
    caller: TrainingContext

    @cached_property
    def base(self) -> Classifier:
        """The unpruned base on the training device."""
        return self.run.base().to(self.train.images.device)

    @property
    def image(self) -> torch.Tensor:
        """One image ``(1, c, h, w)``."""
        return as_float(self.tune.images[:1])

    def cost(self, widths: Widths) -> float:
        """Multiply-accumulates of the base at these widths, for one image."""
        structure = analyse(self.base, self.image)
        full = {group.root: group.channels for group in structure.groups}
        return float(structure.cost({root: width / full[root] for root, width in widths.items()})[1])

    def context(self, kind: Baseline, *, state: Path) -> TrainingContext:
        """The context of a training or score search of this baseline."""
        return dataclasses.replace(
            self.caller,
            callbacks=(EpochLog(self.run.path / "log.jsonl").record, *self.caller.callbacks),
            stage=kind.name,
            seed=kind.seed(self.run.recipe.seed),
            augment=self.run.recipe.data,
            state=state,
        )


def train_baseline(
    kind: Baseline,
    run: Run,
    bundle: Path | None,
    root: data.ImagesSource = None,
    *,
    epochs: int | None = None,
    mean_ms: float | None = None,
    context: TrainingContext | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Train the baseline; write its weights, its ONNX file and its part of the report into the run.

    Only train and tune images are read. A training that was stopped is resumed.

    Args:
        bundle: exported from the run; its mean latency on tune images is the target.
        root: where the images lie, as in training, the images themselves, or their ``Splits``.
        epochs: the most epochs; None takes as many as the team's cost pays for. Training ends earlier when
            accuracy on tune has stopped rising.
        mean_ms: target latency in place of the bundle's.
        context: callbacks, time limit and device.
        command: recorded as the command that made these figures.

    Returns:
        The baseline's part of the report.

    Raises:
        Paused: the time limit has expired before the end.
        CheckpointError: a stage of the run is missing, bundle, images or an earlier plan do not fit, or
            another process works on the run.
    """
    with locked(run.path):
        context = context or TrainingContext()
        device = choose_device(context.device)
        splits = data.splits_for_recipe(run.recipe, root)
        run.check_data(splits)
        with reraise_out_of_memory(f"lower base.batch (now {run.recipe.base.batch})"):
            job = BaselineJob(run, on_device(splits.train, device), on_device(splits.tune, device), context)
            plan, net = _prepare(kind, job, bundle, epochs=epochs, mean_ms=mean_ms)
            path = run.path / f"{kind.name}.safetensors"
            if net is not None:
                _fit(kind, job, net.to(device), plan, path)
        trained, record = checkpoint.load_network(path, named_arch=run.recipe.net.arch)
        image = job.image.cpu()
        write_atomic(run.path / f"{kind.name}.onnx", to_onnx(trained, image))
        params, macs = count_cost(trained, image)
        figures = {"params": params, "macs": macs, **_figures(run, plan, record)}
        report.merge_report(
            run.path / "report.json",
            {"machine": report.machine(), "commands": {kind.name: command}, kind.name: figures},
        )
        return figures


def _prepare(
    kind: Baseline, job: BaselineJob, bundle: Path | None, *, epochs: int | None, mean_ms: float | None
) -> tuple[Plan, Classifier | None]:
    """The stored plan or a new one, and the network to train; None when it is trained already."""
    run, images = job.run, np.ascontiguousarray(as_float(job.tune.images[:TIMED_IMAGES]).cpu().numpy())
    deployed, team = None, ""
    if bundle is not None:
        deployed = load_bundle(bundle, deadline_ms=math.inf)
        check_exported_from(deployed.manifest, run.path, run.member_paths())
        team = weights_digest(run.member_paths())
    matched_to = _target_in_words(deployed, mean_ms)
    path = run.path / f"{kind.name}.json"
    if path.exists():
        plan = load_plan(path, team=team, matched_to=matched_to, epochs=epochs)
        trained = (run.path / f"{kind.name}.safetensors").exists()
        return plan, None if trained else kind.network(job, plan.widths)
    macs = {} if epochs else training_cost.run_cost(run)
    matched, net = kind.match(job, LatencyTarget(images, deployed, mean_ms))
    budget = training_cost.baseline_budget(macs, pruned=kind.pruned) if macs else 0.0
    cfg = team_training(kind, run.recipe, epochs or max(1, run.recipe.joint.finish_epochs))
    cost = job.cost(matched.widths)
    teacher = count_cost(job.base, job.image)[1] if cfg.distill else 0
    if epochs is None:
        cfg = training_cost.epochs_for_budget(budget, cfg, cost=cost, images=len(job.train), teacher=teacher)
    longest = training_cost.training_macs(cfg, cost=cost, images=len(job.train), teacher=teacher)
    plan = Plan(
        widths=matched.widths, mean_ms=matched.mean_ms, target_ms=matched.target_ms, epochs=cfg.epochs,
        by_hand=epochs is not None, macs={**macs, kind.name: longest}, team=team, settings=TEAM,
        conditions=matched.conditions, matched_to=matched_to,
    )  # fmt: skip
    log.info(
        "%s: at most %d epochs%s", kind.name, plan.epochs, "" if epochs is None else ", asked for by hand"
    )
    write_json(path, dataclasses.asdict(plan))
    for suffix in (".search", ".share"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    return plan, net


def _target_in_words(deployed: Cascade | None, mean_ms: float | None) -> str:
    """What the baseline's time is matched to."""
    if mean_ms is not None or deployed is None:
        return f"--mean-ms {mean_ms}"
    manifest, gate = deployed.manifest, deployed.manifest.gate
    cap = f", at most {gate.max_submodels} sub-models" if gate.max_submodels else ""
    return f"a bundle in {manifest.precision} with {gate.rule} {gate.parameters_of(gate.rule)}{cap}"


def team_training(kind: Baseline, recipe: Recipe, epochs: int) -> Pool:
    """The joint stage's radius, attacks and averaging, with distillation, until tune has stopped rising."""
    shared = {field.name: getattr(recipe.joint, field.name) for field in dataclasses.fields(Training)}
    lr, batch = kind.peak_rate(recipe)
    changed = {
        "epochs": epochs,
        "finish_epochs": min(epochs, recipe.joint.finish_epochs),
        "lr": lr,
        "batch": batch,
        "schedule": "wsd",
        "patience": PATIENCE,
        "eps_warmup": 0.0,
    }
    distill = max(recipe.pool.distill, recipe.joint.distill)
    return Pool(**{**shared, **changed}, distill=distill, soft_labels=recipe.joint.soft_labels)


def _fit(kind: Baseline, job: BaselineJob, net: Classifier, plan: Plan, path: Path) -> None:
    """Train ``net`` and save its best weights to ``path``."""
    state, recipe = path.with_suffix(".state"), job.run.recipe
    context = job.context(kind, state=state)
    if plan.settings == BASE:
        cfg: Base = training_cost.with_epochs(recipe.base, plan.epochs)
        _log_estimate(kind, net, job, cfg)
        result = base.train_base(net, job.train, job.tune, cfg=cfg, context=context)
    else:
        team = team_training(kind, recipe, plan.epochs)
        _log_estimate(kind, net, job, team)
        images = add_soft_labels(
            job.train, job.base, team, recipe=recipe, run=job.run.path, processes=context.processes
        )
        loss = distilled_loss(job.base.eval(), team)
        result = loop.fit(net, images, job.tune, cfg=team, loss=loss, context=context)
    net.load_state_dict(result.best)
    checkpoint.save_network(path, net, {"training": result.summary, "history": result.history})
    state.unlink(missing_ok=True)
    path.with_suffix(".pruned").unlink(missing_ok=True)


def _log_estimate(kind: Baseline, net: Classifier, job: BaselineJob, cfg: Training) -> None:
    """Say how long the training takes at most, from a few timed steps."""
    few = job.train[: min(BATCH, cfg.batch)]
    image = cfg.epochs * step_seconds(net, few, cfg)
    image += teacher_passes(cfg) * gradient_seconds(job.base, few) / 3
    judged = min(len(job.tune), cfg.judge_images) * (cfg.judge_steps + 1) * gradient_seconds(net, few)
    log.info(
        "%s: training takes at most about %s on this machine, less if accuracy on tune stops rising before",
        kind.name, duration(len(job.train) * image + cfg.epochs * judged),
    )  # fmt: skip


def _figures(run: Run, plan: Plan, record: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline's part of the report without the network's size."""
    epochs = len(record["history"])
    return {
        "mean_ms": plan.mean_ms,
        "target_ms": plan.target_ms,
        "ratio": plan.mean_ms / plan.target_ms,
        "widths": plan.widths,
        "epochs": epochs,
        "budget": {
            "counted": training_cost.counted(run.recipe),
            "epochs": plan.epochs,
            "epochs_by_hand": plan.by_hand,
            "used_up": epochs >= plan.epochs,
            "macs": plan.macs,
        },
        "conditions": plan.conditions,
        "training": record["training"],
        "history": record["history"],
    }
