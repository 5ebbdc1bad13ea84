"""Pool: prune every candidate from the base and fine-tune it under attack (EED, sec. 5.1)."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch

from eed_edge.prune.candidates import Candidate, candidates, subset_indices
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.distilled_loss import distilled_loss
from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import without_norm
from eed_edge.prune.learned_scores import learned_scores
from eed_edge.prune.member_time import time_budget
from eed_edge.prune.removal import recalibrate, remove_channels
from eed_edge.prune.widths import choose_widths, member_budget
from eed_edge.recipe import Recipe
from eed_edge.seeds import candidate_seed
from eed_edge.train import loop
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.system.distributed import SINGLE_PROCESS
from eed_edge.train.system.time_limit import Paused

log = logging.getLogger(__name__)


def build_pool(
    base: Classifier, train: Images, tune: Images, *, recipe: Recipe, folder: Path, context: TrainingContext
) -> list[Path]:
    """Make each candidate that ``folder`` does not hold yet.

    Args:
        base: the trained network; it is left unchanged.
        folder: one file per candidate, and the checkpoints of those in progress.
        context: its processes share the candidates out; each candidate is made by one of them.

    Returns:
        The file of every candidate, in order.

    Raises:
        Paused: the time limit has expired before the last candidate was made.
    """
    processes = context.processes
    pool = candidates(recipe)
    paths = [folder / f"{candidate.name}.safetensors" for candidate in pool]
    missing = processes.all_gather([i for i, path in enumerate(paths) if not path.exists()])[0]
    if missing and processes.is_main and "bnsf" in recipe.scores.names:
        structure = analyse(base, as_float(train.images[:1]))
        if plain := without_norm(structure):
            log.info("bnsf: no batch norm behind %s, weights count as they are there", ", ".join(plain))
    paused: Paused | None = None
    try:
        for i in missing[processes.shard]:
            context.time_limit.raise_if_expired(f"pool {pool[i].name}")
            alone = dataclasses.replace(
                context,
                processes=SINGLE_PROCESS,
                part=pool[i].name,
                seed=candidate_seed(recipe.seed, pool[i].index),
                augment=recipe.data,
            )
            _make_candidate(base, train, tune, pool[i], recipe=recipe, path=paths[i], context=alone)
    except Paused as stop:
        paused = stop
    if processes.any(paused is not None):
        raise paused or Paused("time is up for the pool")
    return paths


def _make_candidate(
    base: Classifier,
    train: Images,
    tune: Images,
    candidate: Candidate,
    *,
    recipe: Recipe,
    path: Path,
    context: TrainingContext,
) -> None:
    """Prune a candidate from the base, fine-tune it and save its best and its last weights."""
    cfg = recipe.pool
    indices = subset_indices(len(train), candidate, cfg=cfg, seed=recipe.seed)
    subset = train[torch.from_numpy(indices).to(train.images.device)]
    pruned, state = path.with_suffix(".pruned"), path.with_suffix(".state")
    if pruned.exists():
        net, record = checkpoint.load_network(pruned, named_arch=recipe.net.arch)
        net.to(subset.images.device)
    else:
        search = dataclasses.replace(context, state=path.with_suffix(".search"))
        net, record = _prune(base, subset, candidate, recipe=recipe, context=search)
        checkpoint.save_network(pruned, net, record)
        path.with_suffix(".search").unlink(missing_ok=True)
        context.time_limit.record_progress()
        context.time_limit.raise_if_expired(f"fine-tuning {candidate.name}")
    base.eval()
    result = loop.fit(
        net,
        subset,
        tune,
        cfg=cfg,
        loss=distilled_loss(base, cfg),
        context=dataclasses.replace(context, state=state),
    )
    record = {**record, "training": result.summary, "history": result.history}
    net.load_state_dict(result.last)
    last = path.with_name(f"{candidate.name}-last.safetensors")
    checkpoint.save_network(last, net, record, compact=context.compact)
    net.load_state_dict(result.best)
    checkpoint.save_network(path, net, record, compact=context.compact)
    state.unlink(missing_ok=True)
    pruned.unlink()


def _prune(
    base: Classifier, subset: Images, candidate: Candidate, *, recipe: Recipe, context: TrainingContext
) -> tuple[Classifier, dict[str, Any]]:
    """The pruned, not yet fine-tuned network of a candidate, and its record."""
    image = as_float(subset.images[:1])
    structure, scores = learned_scores(base, subset, candidate.score, recipe=recipe, context=context)
    time = time_budget(structure, tuple(image.shape[1:]), recipe.prune)
    widths = choose_widths(
        structure,
        scores.keep_ratio,
        member_budget(base, image, recipe),
        round_to=recipe.prune.round_to,
        branches=recipe.prune.branches,
        time=time,
    )
    net = remove_channels(base, structure, scores, widths)
    recalibrate(net, subset, batch=recipe.pool.batch)
    params, macs = count_cost(net, image)
    pruning = {
        "importance": candidate.score,
        "subset": candidate.subset,
        "widths": widths,
        "params": params,
        "macs": macs,
        "kept": {root: round(ratio, 4) for root, ratio in scores.keep_ratio.items()},
        "images": len(subset),
    }
    if time is not None:
        pruning |= time.record(widths)
        log.info(
            "%s: predicted %.3f ms of at most %.3f", candidate.name, time.of_widths(widths), time.most_ms
        )
    return net, {"pruning": pruning}
