"""Select stage: choose the members of the team by their failures, under attack unless the run has none."""

import logging

import numpy as np
import torch

from eed_edge.atomic_files import write_json
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.pipeline.stage_context import StageContext
from eed_edge.pipeline.team_judge import TeamJudge
from eed_edge.prune.candidates import candidates
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.recipe import Recipe
from eed_edge.select import selection
from eed_edge.select.diversity import diversity_by_size
from eed_edge.select.selection import MOST_CONSIDERED
from eed_edge.train.data.batches import Images, as_float, images_at_once, in_order
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.validation import VALIDATION_BATCH

log = logging.getLogger(__name__)


def select_members(context: StageContext) -> None:
    """Choose the members and write ``selection.json``, in the main process only."""
    if not context.processes.is_main:
        return
    run, cfg = context.run, context.run.recipe.select
    names = [candidate.name for candidate in candidates(run.recipe)]
    files, arch = [run.path / "pool" / f"{name}.safetensors" for name in names], run.recipe.net.arch
    loaded = [checkpoint.load_network(file, named_arch=arch) for file in files]
    pool_members = Ensemble([net for net, _ in loaded]).to(context.device).eval()
    probs, labels = attacked_probs(pool_members, context.tune, recipe=run.recipe)
    failed = probs.argmax(2) != labels
    pruning = [record["pruning"] for _, record in loaded]
    params, macs = count_cost(run.base().to(context.device), as_float(context.tune.images[:1]))
    share = 1 - run.recipe.prune.sparsity
    choice = selection.select_team(
        failed,
        probs=probs,
        labels=labels,
        params=np.array([row["params"] for row in pruning]),
        macs=np.array([row["macs"] for row in pruning]),
        budget=selection.TeamBudget(share * params, share * macs),
        criteria=selection.Criteria(
            cfg.rule,
            cfg.rd,
            cfg.member_gap,
            TeamJudge(list(pool_members.members), context.tune, run.recipe) if cfg.rule == "robust" else None,
            attacked=run.recipe.attacked,
            members=cfg.members,
        ),
    )
    log.info("%s", choice.reason)
    judged = "attacked" if run.recipe.attacked else "clean"
    compared = range(len(names)) if len(names) <= MOST_CONSIDERED else choice.considered
    write_json(
        run.path / "selection.json",
        {
            "members": [names[i] for i in choice.members],
            "rd": choice.rd,
            judged: choice.accuracy,
            "reason": choice.reason,
            f"{judged}_alone": {name: float(1 - f.mean()) for name, f in zip(names, failed, strict=True)},
            "considered": [names[i] for i in choice.considered],
            "rd_by_size": diversity_by_size(failed[list(compared)]),
        },
    )


def attacked_probs(ensemble: Ensemble, images: Images, *, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of every member on images attacked with PGD against the ensemble's mean.

    In a run without attacks, on the images as they are.

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
        for batch, labels in in_order(images, images_at_once(images.images, VALIDATION_BATCH)):
            attacked = attack(ensemble, batch, labels, threat) if recipe.attacked else batch
            with torch.no_grad():
                parts.append(ensemble.member_logits(attacked).float().softmax(2).cpu().numpy())
    return np.concatenate(parts, 1), images.labels.cpu().numpy()
