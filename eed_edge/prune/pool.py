"""The pool: importance scores × data subsets, each pruned from the base and fine-tuned under attack."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eed_edge.attacks.base import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.errors import EedError, NetworkError
from eed_edge.prune import score_search
from eed_edge.prune.groups import analyse, count
from eed_edge.prune.importance import SCORES, without_norm
from eed_edge.prune.removal import (
    Budget,
    choose_widths,
    recalibrate,
    remove_channels,
)
from eed_edge.recipe import Pool, Recipe
from eed_edge.train import loop, losses
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier, resize_to
from eed_edge.train.networks.build import build_network as build_net
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.system.epoch_log import TrainingCallback
from eed_edge.train.system.time_limit import Paused, TimeLimit

log = logging.getLogger(__name__)
SCORE_STEPS = 10
"""PGD steps of the attack on the images that a score is estimated from."""


@dataclass(frozen=True)
class Candidate:
    """One entry of the pool: which score, which data subset, and the seed of everything random in it."""

    score: str
    subset: int
    index: int

    @property
    def name(self) -> str:
        """File name without its ending, such as ``nis-0``."""
        return f"{self.score}-{self.subset}"


def candidates(recipe: Recipe) -> list[Candidate]:
    """All candidates of a recipe: every score with every subset, 4 × 3 = 12 by default."""
    pairs = [(score, subset) for score in recipe.scores.names for subset in range(recipe.pool.subsets)]
    return [Candidate(score, subset, index) for index, (score, subset) in enumerate(pairs)]


def subset_indices(n: int, candidate: Candidate, *, cfg: Pool, seed: int) -> np.ndarray:
    """Which training images a candidate sees: the shared part and its own share of the rest, sorted.

    The order is shuffled anew for each score; subsets of one score overlap in the shared part only.

    Args:
        n: number of training images.

    Returns:
        ``(m,)`` indices below ``n``.

    Source:
        EED, sec. 5.1: 25 % shared, 75 % split over three.
    """
    score_number = list(SCORES).index(candidate.score)
    order = np.random.default_rng([seed, score_number]).permutation(n)
    shared, rest = np.split(order, [round(cfg.shared * n)])
    return np.sort(np.concatenate([shared, np.array_split(rest, cfg.subsets)[candidate.subset]]))


def check_prunable(base: Classifier, few: Images, recipe: Recipe) -> None:
    """Score, mask, prune, rebuild and run ``base`` once, so that what cannot work fails before training.

    Args:
        few: two images or so.

    Raises:
        NetworkError: one of these steps fails, or two members do not fit into the team's budget.
    """
    try:
        _dry_run(base, as_float(few.images), few.labels, recipe)
    except EedError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise NetworkError(
            f"the network cannot be pruned ({type(error).__name__}: {reason});"
            " use plain convolutions, linear layers and norms"
        ) from error


def _dry_run(base: Classifier, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
    image, share = images[:1], recipe.prune.member_share
    structure, _ = analyse(base, image)
    for name in recipe.scores.names:
        choice = score_search.uniform(
            structure, SCORES[name](base, structure, images, labels), member_share=share
        )
    budget = _budget(base, image, recipe)
    chosen = choose_widths(
        structure, choice.keep_ratio, budget, round_to=recipe.prune.round_to, branches=recipe.prune.branches
    )
    masks = {root: torch.ones_like(score) for root, score in choice.scores.items()}
    with torch.no_grad(), score_search.masked(base, structure, masks):
        base.eval()(images)
    small = remove_channels(base, choice, image, chosen).eval()
    rebuilt = build_net(**base.architecture).to(images.device)
    resize_to(rebuilt, {name: tuple(tensor.shape) for name, tensor in small.state_dict().items()})
    rebuilt.to(images.device).load_state_dict(small.state_dict())
    with torch.no_grad():
        if not torch.allclose(rebuilt.eval()(images), small(images), rtol=1e-3, atol=1e-3):
            raise NetworkError("a pruned copy does not answer as its checkpoint would; use plain layers")
    cost, whole = count(small, image), count(base, image)
    team = 1 - recipe.prune.sparsity
    if any(2 * own > team * all_ for own, all_ in zip(cost, whole, strict=True)):
        share = max(own / all_ for own, all_ in zip(cost, whole, strict=True))
        raise NetworkError(
            f"two members of {share:.3f} of the base each do not fit into a team of {team:.3f};"
            " lower prune.member_share or prune.sparsity"
        )


def _budget(base: Classifier, image: Tensor, recipe: Recipe) -> Budget:
    params, macs = count(base, image)
    return Budget(recipe.prune.member_share * params, recipe.prune.member_share * macs)


def build_pool(
    base: Classifier,
    train: Images,
    tune: Images,
    *,
    recipe: Recipe,
    folder: Path,
    on_record: Callable[[Candidate], TrainingCallback],
    compact: bool = False,
    time_limit: TimeLimit | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> list[Path]:
    """Make each candidate that ``folder`` does not hold yet.

    Args:
        base: the trained network; it is left unchanged.
        folder: one file a candidate, and the checkpoint of the one under way.
        on_record: gives the watcher of a candidate's training.
        compact: keep finished candidates in half precision.
        time_limit: when to stop at a checkpoint; None never does.
        processes: those that share the candidates out; each is made by one of them alone.

    Returns:
        The file of every candidate, in order.

    Raises:
        Paused: the deadline is over and candidates are left.
    """
    time_limit = time_limit or TimeLimit()
    everyone = candidates(recipe)
    paths = [folder / f"{candidate.name}.safetensors" for candidate in everyone]
    missing = processes.all_gather([i for i, path in enumerate(paths) if not path.exists()])[0]
    if missing and processes.is_main and "bnsf" in recipe.scores.names:
        structure, _ = analyse(base, as_float(train.images[:1]))
        if plain := without_norm(structure):
            log.info("bnsf: no batch norm behind %s, weights count as they are there", ", ".join(plain))
    paused: Paused | None = None
    try:
        for i in missing[processes.shard]:
            time_limit.raise_if_expired(f"pool {everyone[i].name}")
            _make_candidate(
                base, train, tune, everyone[i], recipe=recipe, path=paths[i],
                on_record=on_record(everyone[i]), compact=compact, time_limit=time_limit,
            )  # fmt: skip
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
    on_record: TrainingCallback,
    compact: bool,
    time_limit: TimeLimit,
) -> None:
    cfg, seed = recipe.pool, recipe.seed * 1009 + candidate.index + 1
    chosen = subset_indices(len(train), candidate, cfg=cfg, seed=recipe.seed)
    own = train[torch.from_numpy(chosen).to(train.images.device)]
    pruned, state = path.with_suffix(".pruned"), path.with_suffix(".state")
    if pruned.exists():
        net, record = checkpoint.load_network(pruned)
        net.to(own.images.device)
    else:
        search = path.with_suffix(".search")
        net, record = _prune(
            base,
            own,
            candidate,
            recipe=recipe,
            seed=seed,
            state=search,
            on_record=on_record,
            time_limit=time_limit,
        )
        checkpoint.save_network(pruned, net, record)
        search.unlink(missing_ok=True)
        time_limit.record_progress()
        time_limit.raise_if_expired(f"fine-tuning {candidate.name}")

    def loss(network: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        logits = network(attacked).float()
        hard = nn.functional.cross_entropy(logits, labels, label_smoothing=cfg.label_smoothing)
        if not cfg.distill:
            return hard
        with torch.no_grad():
            teacher = base(clean)
        return (1 - cfg.distill) * hard + cfg.distill * losses.distillation(logits, teacher.float())

    base.eval()
    fitted = loop.fit(
        net, own, tune, cfg=cfg, augment=recipe.data, loss=loss, seed=seed, state=state, on_record=on_record,
        time_limit=time_limit,
    )  # fmt: skip
    log.info("%s", fitted.told(candidate.name))
    record = {**record, "training": fitted.summary, "history": fitted.history}
    net.load_state_dict(fitted.last)
    checkpoint.save_network(
        path.with_name(f"{candidate.name}-last.safetensors"), net, record, compact=compact
    )
    net.load_state_dict(fitted.best)
    checkpoint.save_network(path, net, record, compact=compact)
    state.unlink(missing_ok=True)
    pruned.unlink()


def _prune(
    base: Classifier,
    own: Images,
    candidate: Candidate,
    *,
    recipe: Recipe,
    seed: int,
    state: Path,
    on_record: TrainingCallback,
    time_limit: TimeLimit,
) -> tuple[Classifier, dict[str, Any]]:
    """The pruned, not yet fine-tuned network of a candidate, and its record."""
    generator = torch.Generator(own.images.device).manual_seed(seed)
    torch.manual_seed(seed)  # for layers that draw their own, such as dropout
    few = own[torch.randperm(len(own), generator=generator, device=own.images.device)[: recipe.scores.images]]
    images, image = as_float(few.images), as_float(own.images[:1])
    structure, _ = analyse(base, image)
    threat = Threat(recipe.pool.eps_255 / 255, generator=generator)
    attacked = PGD(steps=SCORE_STEPS)(base, images, few.labels, threat)
    importance = SCORES[candidate.score](base, structure, attacked, few.labels)
    choice = score_search.uniform(structure, importance, member_share=recipe.prune.member_share)
    if recipe.scores.search:
        choice = score_search.search_scores(
            copy.deepcopy(base),
            structure,
            choice,
            own,
            cfg=recipe.scores,
            attack=recipe.pool,
            augment=recipe.data,
            member_share=recipe.prune.member_share,
            seed=seed,
            state=state,
            on_record=on_record,
            time_limit=time_limit,
        )
    budget = _budget(base, image, recipe)
    chosen = choose_widths(
        structure, choice.keep_ratio, budget, round_to=recipe.prune.round_to, branches=recipe.prune.branches
    )
    net = remove_channels(base, choice, image, chosen)
    recalibrate(net, own, batch=recipe.pool.batch)
    params, macs = count(net, image)
    pruning = {
        "importance": candidate.score,
        "subset": candidate.subset,
        "widths": chosen,
        "params": params,
        "macs": macs,
        "kept": {root: round(kept, 4) for root, kept in choice.keep_ratio.items()},
        "images": len(own),
    }
    return net, {"pruning": pruning}
