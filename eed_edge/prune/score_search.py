"""Score search: learn under attack which channels to keep and how many per layer (HARP, eq. 5-6).

Scores and one threshold per group are learned with frozen weights. A channel is on when its score is
above the threshold; gradients pass as if the step were a sigmoid. The loss is the attacked
cross-entropy of the masked network plus phi times the distance of its cost from the target.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.attacks import training_images
from eed_edge.errors import NetworkError
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.channels.structure import Group, Structure
from eed_edge.prune.member_time import TimeBudget, time_budget
from eed_edge.prune.search_state import SearchState
from eed_edge.recipe import Recipe
from eed_edge.seeds import epoch_seed
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.state import for_device, random_state, set_random_state
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.interruption import Interrupted, deferred

TEMPERATURE = 0.1
"""Width of the sigmoid through which gradients pass, in units of scores that lie in [0, 1]."""
MASK_FLOOR = 1e-3
"""Factor of a channel that is off; with 0, a channel behind a ReLU would get no gradient."""


@dataclass(frozen=True)
class ChannelScores:
    """Per group root: a score per channel ``(channels,)``, and the share of channels to keep, in (0, 1]."""

    scores: Mapping[str, Tensor]
    keep_ratio: Mapping[str, float]


def uniform(
    structure: Structure, importance: Callable[[Group], Tensor], *, member_share: float
) -> ChannelScores:
    """Initial scores, as ranks in (0, 1], with one keep ratio for all layers that meets the target."""
    scores = {group.root: ranks(importance(group)) for group in structure.groups}
    share = member_share**0.5  # a layer's cost goes with inputs × outputs
    return ChannelScores(scores, {group.root: share for group in structure.groups})


def ranks(importance: Tensor) -> Tensor:
    """Importance replaced by its rank, from 1/C for the least to 1 for the most important channel."""
    order = importance.argsort(stable=True)
    if not torch.isfinite(importance).all():
        raise NetworkError("an importance score is not finite; train the base anew with a lower base.lr")
    rank = torch.empty_like(importance, dtype=torch.float32)
    rank[order] = torch.arange(1, len(order) + 1, dtype=rank.dtype, device=rank.device)
    return rank / len(order)


def search_scores(
    net: nn.Module,
    structure: Structure,
    start: ChannelScores,
    train: Images,
    *,
    recipe: Recipe,
    context: TrainingContext,
) -> ChannelScores:
    """Learn scores and per-layer keep ratios under attack, from the initial ones.

    Args:
        net: a copy of the base; only its batch-norm statistics change, adapting to the masks.
        recipe: ``scores`` configures the search, ``pool`` the attack and the batch size, and ``prune`` has
            the targets: a share of parameters and MACs, and a time.
        context: an existing checkpoint at ``context.state`` is resumed.

    Raises:
        Interrupted: a signal has arrived; the checkpoint is written.
        Paused: the time limit has expired; the checkpoint is written.

    Source:
        HARP (Zhao and Wressnegger, ICLR 2023), with masks over coupled channels instead of weights.
    """
    cfg, attack = recipe.scores, recipe.pool
    search = SearchState.begin(net, start.scores, start.keep_ratio, lr=cfg.lr)
    if context.state is not None and context.state.exists():
        search.resume(context.state)
        search.random = for_device(train.images.device, search.random)
    time = time_budget(structure, tuple(train.images.shape[1:]), recipe.prune)
    objective = _Objective(net, structure, recipe, time)
    device = train.images.device
    steps = max(1, len(train) // attack.batch)
    checkpoints = Checkpointing(
        lambda: search.save(context.state) if context.state else None, time_limit=context.time_limit
    )
    with masked(net, structure.groups, objective.masks), _frozen_weights(net), deferred():
        try:
            while search.epoch < cfg.epochs:
                generator = torch.Generator(device).manual_seed(epoch_seed(context.seed, search.epoch))
                if search.random:
                    set_random_state(device, search.random)
                for images, labels, _ in batches.epoch(
                    train, batch=attack.batch, augment=context.augment, generator=generator,
                    first=search.batch, noise=search.random.get("noise"),
                ):  # fmt: skip
                    loss = objective.loss(search, images, labels, generator)
                    search.step(loss, rate=1 - search.steps / (cfg.epochs * steps))
                    search.random = random_state(device, generator)
                    context.record({"phase": "score search", "epoch": search.epoch, "epochs": cfg.epochs,
                                    "batch": search.batch, "batches": steps})  # fmt: skip
                    where = f"in the score search, epoch {search.epoch + 1} of {cfg.epochs}"
                    checkpoints.after_batch(search.batch, where=where)
                search.next_epoch()
        except Interrupted:
            checkpoints.write()
            raise
    masks = {root: mask.detach() for root, mask in _masks(search.scores, search.thresholds).items()}
    return ChannelScores(
        {root: score.detach() for root, score in search.scores.items()},
        {root: (mask > 0.5).float().mean().item() for root, mask in masks.items()},
    )


class _Objective:
    """Loss of the score search: attacked cross-entropy of the masked network plus the cost penalty.

    masks: the current masks, which the hooks of ``masked`` read at every call.
    """

    def __init__(self, net: nn.Module, structure: Structure, recipe: Recipe, time: TimeBudget | None) -> None:
        self.masks: dict[str, Tensor] = {}
        self._net, self._structure, self._recipe, self._time = net, structure, recipe, time
        self._full_cost = structure.cost({group.root: 1.0 for group in structure.groups})

    def loss(self, search: SearchState, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of one batch; its gradient reaches scores and thresholds."""
        net, masks, attack = self._net, self.masks, self._recipe.pool
        live = _masks(search.scores, search.thresholds)
        with mixed_precision(images.device):
            masks.update({root: mask.detach() for root, mask in live.items()})
            attacked = training_images.make_adversarial(
                net, images, labels, attack=attack.attack, cfg=attack, generator=generator
            )
            masks.update(live)
            net.train()
            loss = F.cross_entropy(net(attacked).float(), labels)
        penalty = _cost_penalty(
            self._structure, search.scores, search.thresholds, self._full_cost,
            member_share=self._recipe.prune.member_share, time=self._time,
        )  # fmt: skip
        return loss + self._recipe.scores.phi * penalty


def _cost_penalty(
    structure: Structure,
    scores: Mapping[str, Tensor],
    thresholds: Mapping[str, Tensor],
    full_cost: tuple[float, float],
    *,
    member_share: float,
    time: TimeBudget | None = None,
) -> Tensor:
    """Relative distance of parameters, MACs or time from its target, the one furthest above it; moves
    thresholds only.

    It is two-sided: from far below the target, the cross-entropy alone gives no gradient back up.
    """
    fixed = {root: score.detach() for root, score in scores.items()}
    ratios = {root: mask.mean() for root, mask in _masks(fixed, thresholds).items()}
    used = [now / all_ / member_share for now, all_ in zip(structure.cost(ratios), full_cost, strict=True)]
    if time is not None:
        used.append(time.ms(ratios) / time.most_ms)
    return (torch.stack(used).max() - 1).abs()


def _masks(scores: Mapping[str, Tensor], thresholds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mask per group: 1 for a kept channel, ``MASK_FLOOR`` for a removed one; the best is always kept."""
    masks = {}
    for root, score in scores.items():
        soft = torch.sigmoid((score - thresholds[root]) / TEMPERATURE)
        hard = ((score > thresholds[root]) | (score == score.max())).float().clamp_min(MASK_FLOOR)
        masks[root] = hard + soft - soft.detach()
    return masks


@contextmanager
def _frozen_weights(net: nn.Module) -> Iterator[None]:
    """Turn off the gradients of the weights inside the block."""
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
