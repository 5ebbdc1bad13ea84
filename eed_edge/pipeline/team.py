"""The last two stages: which candidates make up the team, and their training together."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from eed_edge.atomic_files import write_json
from eed_edge.attacks.base import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.prune import pool
from eed_edge.prune.groups import count
from eed_edge.recipe import Recipe
from eed_edge.select import selection
from eed_edge.select.diversity import diversity_by_size, robust_diversity
from eed_edge.select.selection import MOST_CONSIDERED, running_order
from eed_edge.train import joint as training
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import read_json
from eed_edge.train.validation import VALIDATION_BATCH

log = logging.getLogger(__name__)


def select(context: TrainingContext) -> None:
    """Choose the members, once; the choice is kept in ``selection.json``."""
    if not context.processes.is_main:
        return
    run, cfg = context.run, context.run.recipe.select
    names = [candidate.name for candidate in pool.candidates(run.recipe)]
    loaded = [checkpoint.load_network(run.path / "pool" / f"{name}.safetensors") for name in names]
    everyone = Ensemble([net for net, _ in loaded]).to(context.device).eval()
    probs, labels = attacked_probs(everyone, context.tune, recipe=run.recipe)
    failed = probs.argmax(2) != labels
    pruning = [record["pruning"] for _, record in loaded]
    params, macs = count(run.base().to(context.device), as_float(context.tune.images[:1]))
    share = 1 - run.recipe.prune.sparsity
    choice = selection.select_team(
        failed,
        probs=probs,
        labels=labels,
        params=np.array([row["params"] for row in pruning]),
        macs=np.array([row["macs"] for row in pruning]),
        budget_params=share * params,
        budget_macs=share * macs,
        rule=cfg.rule,
        rd=cfg.rd,
        member_gap=cfg.member_gap,
    )
    log.info("%s", choice.reason)
    compared = range(len(names)) if len(names) <= MOST_CONSIDERED else choice.considered
    write_json(
        run.path / "selection.json",
        {
            "members": [names[i] for i in choice.members],
            "rd": choice.rd,
            "attacked": choice.attacked_accuracy,
            "reason": choice.reason,
            "attacked_alone": {name: float(1 - f.mean()) for name, f in zip(names, failed, strict=True)},
            "considered": [names[i] for i in choice.considered],
            "rd_by_size": diversity_by_size(failed[list(compared)]),
        },
    )


def joint(context: TrainingContext) -> None:
    """Train the members together and put them in running order; ``joint.json`` comes last."""
    run, cfg, state = context.run, context.run.recipe.joint, context.run.path / "joint.state"
    names = read_json(run.path / "selection.json")["members"]
    loaded = [checkpoint.load_network(run.path / "pool" / f"{name}.safetensors") for name in names]
    members = [net.to(context.device) for net, _ in loaded]
    ensemble = Ensemble(members)
    notes = training.loss_notes(cfg, ensemble, classes=len(run.classes))
    for note in notes:
        log.warning("%s", note)
    fitted = training.train_joint(
        ensemble, context.train, context.tune, base=run.base().to(context.device), cfg=cfg,
        augment=run.recipe.data, seed=run.recipe.seed + 500_000, state=state,
        on_record=context.epoch_callback("joint"), time_limit=context.time_limit, processes=context.processes,
    )  # fmt: skip
    log.info("%s", fitted.told("joint"))
    context.processes.barrier()
    if not context.processes.is_main:
        return
    probs, labels = attacked_probs(ensemble, context.tune, recipe=run.recipe)
    order = running_order(probs, labels)
    checkpoint.save_checkpoint(run.path / "joint" / "last.safetensors", fitted.last, {"members": names})
    for place, index in enumerate(order):
        kept = {"pruning": loaded[index][1]["pruning"], "candidate": names[index]}
        checkpoint.save_network(run.member_path(place), members[index], kept)
    write_json(
        run.path / "joint.json",
        {
            "members": [names[index] for index in order],
            "rd": robust_diversity(probs.argmax(2) != labels),
            "attacked_by_prefix": _by_prefix(probs, labels, order),
            "training": fitted.summary,
            "notes": notes,
        },
    )
    state.unlink(missing_ok=True)


def _by_prefix(probs: np.ndarray, labels: np.ndarray, order: Sequence[int]) -> list[float]:
    """Attacked accuracy of the mean of the first, the first two, … members."""
    return [float((probs[order[:t]].mean(0).argmax(1) == labels).mean()) for t in range(1, len(order) + 1)]


def attacked_probs(ensemble: Ensemble, images: Images, *, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Every member's probabilities on images attacked against the mean of all of them.

    Returns:
        ``(members, n, k)`` float32 and the labels ``(n,)``.

    Source:
        EED, sec. 4.2: the failures from which robust diversity is computed.
    """
    generator = torch.Generator(images.images.device).manual_seed(recipe.seed)
    threat = Threat(recipe.pool.eps_255 / 255, generator=generator)
    attack = PGD(steps=recipe.pool.judge_steps)
    parts = []
    with frozen(ensemble):
        for batch, labels in in_order(images, VALIDATION_BATCH):
            attacked = attack(ensemble, batch, labels, threat)
            with torch.no_grad():
                parts.append(ensemble.member_logits(attacked).float().softmax(2).cpu().numpy())
    return np.concatenate(parts, 1), images.labels.cpu().numpy()
