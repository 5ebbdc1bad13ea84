"""Score search: learn under attack which channels to keep and how many per layer (HARP, eq. 5-6).

Scores and one threshold per group are learned while the weights stand still. A channel is on when
its score is above the threshold; gradients pass as if the step were a sigmoid. The loss is the
attacked cross-entropy of the masked network plus phi times how far its cost is from the target.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.attacks import training_images
from eed_edge.errors import NetworkError
from eed_edge.prune.groups import Structure
from eed_edge.prune.search_state import SearchState
from eed_edge.recipe import Data, Pool, Scores
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.state import random_state, set_random_state
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.interruption import Interrupted, deferred
from eed_edge.train.system.time_limit import TimeLimit

TEMPERATURE = 0.1
"""Width of the sigmoid through which gradients pass, in units of scores that lie in [0, 1]."""
MASK_FLOOR = 1e-3
"""What is left of a channel that is off: behind a ReLU nothing at all would get no gradient."""


@dataclass(frozen=True)
class ChannelScores:
    """What to keep: group root to a score per channel ``(channels,)``, and to a share in (0, 1]."""

    scores: Mapping[str, Tensor]
    keep_ratio: Mapping[str, float]


def uniform(structure: Structure, importance: Any, *, member_share: float) -> ChannelScores:
    """The initial scores, as ranks in (0, 1], and one width for all layers that meets the target."""
    scores = {group.root: ranks(importance(group.coupled)) for group in structure.groups}
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
    cfg: Scores,
    attack: Pool,
    augment: Data,
    member_share: float,
    seed: int,
    state: Path | None = None,
    on_record: Callable[[dict[str, Any]], None] = lambda _: None,
    time_limit: TimeLimit | None = None,
) -> ChannelScores:
    """Learned scores and per-layer rates, from the initial ones.

    Args:
        net: the base, in a copy: its batch-norm statistics adapt to the masks, nothing else changes.
        member_share: target for parameters and MACs as a share of the whole network's.
        attack: how training images are attacked, and the batch size.
        state: where the checkpoint of a search under way is kept; an existing one is continued.
        on_record: called with a record after each batch.
        time_limit: when to stop at a checkpoint; None never does.

    Raises:
        Interrupted: a signal has come; the checkpoint is written.
        Paused: the deadline is over; the checkpoint is written.

    Source:
        HARP (Zhao and Wressnegger, ICLR 2023), with masks over coupled channels instead of weights.
    """
    search = SearchState.begin(net, start.scores, start.keep_ratio, lr=cfg.lr)
    if state is not None and state.exists():
        search.resume(state)
    whole = structure.cost({group.root: 1.0 for group in structure.groups})
    masks: dict[str, Tensor] = {}
    device = train.images.device
    batches_each = max(1, len(train) // attack.batch)
    checkpoints = Checkpointing(
        lambda: search.save(state) if state else None, time_limit=time_limit or TimeLimit()
    )

    def step(images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        live = _masks(search.scores, search.thresholds)
        with mixed_precision(device):
            masks.update({root: mask.detach() for root, mask in live.items()})
            attacked = training_images.make_adversarial(
                net, images, labels, attack=attack.attack, cfg=attack, generator=generator
            )
            masks.update(live)
            net.train()
            loss = F.cross_entropy(net(attacked).float(), labels)
        price = _cost_penalty(structure, search.scores, search.thresholds, whole, member_share=member_share)
        search.step(loss + cfg.phi * price, rate=1 - search.steps / (cfg.epochs * batches_each))

    with masked(net, structure, masks), _frozen_weights(net), deferred():
        try:
            while search.epoch < cfg.epochs:
                generator = torch.Generator(device).manual_seed(seed * 1_000_003 + search.epoch)
                if search.random:
                    set_random_state(device, search.random)
                for images, labels in batches.epoch(
                    train, batch=attack.batch, augment=augment, generator=generator,
                    first=search.batch, noise=search.random.get("noise"),
                ):  # fmt: skip
                    step(images, labels, generator)
                    search.random = random_state(device, generator)
                    on_record({"phase": "score search", "epoch": search.epoch, "epochs": cfg.epochs,
                           "batch": search.batch, "batches": batches_each})  # fmt: skip
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


def _cost_penalty(
    structure: Structure,
    scores: Mapping[str, Tensor],
    thresholds: Mapping[str, Tensor],
    whole: tuple[float, float],
    *,
    member_share: float,
) -> Tensor:
    """How far the larger share of parameters or MACs is from the target, in targets; moves rates only.

    Both ways: a network that has fallen far below the target gives no gradient back up.
    """
    still = {root: score.detach() for root, score in scores.items()}
    cost = structure.cost({root: mask.mean() for root, mask in _masks(still, thresholds).items()})
    used = torch.stack([now / all_ for now, all_ in zip(cost, whole, strict=True)]).max()
    return (used / member_share - 1).abs()


def _masks(scores: Mapping[str, Tensor], thresholds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """1 for a channel that stays, next to 0 for one that goes; the best of a group always stays."""
    masks = {}
    for root, score in scores.items():
        soft = torch.sigmoid((score - thresholds[root]) / TEMPERATURE)
        hard = ((score > thresholds[root]) | (score == score.max())).float().clamp_min(MASK_FLOOR)
        masks[root] = hard + soft - soft.detach()
    return masks


@contextmanager
def masked(net: nn.Module, structure: Structure, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiply what each group's layers put out by the group's mask, read anew at every call.

    A channel counts as removed where it enters the sum or the activation: after its batch norm,
    or after the layer itself where there is none.
    """

    def hook(root: str) -> Any:
        def multiply(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            shape = [1] * output.dim()
            shape[-1 if output.dim() == 2 else 1] = -1
            return output * masks[root].view(shape)

        return multiply

    hooks = []
    for group in structure.groups:
        plain = [name for name in group.producers if name not in structure.norm_of]
        for name in (*group.norms, *plain):
            hooks.append(net.get_submodule(name).register_forward_hook(hook(group.root)))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def _frozen_weights(net: nn.Module) -> Iterator[None]:
    """No gradients for the weights, only for scores and thresholds."""
    wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
