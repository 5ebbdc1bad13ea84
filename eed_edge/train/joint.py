"""Joint training: all members are trained together on attacks against their mean (EED, eq. 14-19)."""

import torch
from torch import Tensor, nn

from eed_edge.recipe import Joint
from eed_edge.train import loop, losses
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.loop import TrainingResult
from eed_edge.train.networks.ensemble import ACTIVATIONS, Ensemble, recorded_activations


def train_joint(
    ensemble: Ensemble,
    train: Images,
    tune: Images,
    *,
    base: nn.Module,
    cfg: Joint,
    context: TrainingContext,
) -> TrainingResult:
    """Train all members of ``ensemble`` in place with ``L = L_E + omega L_R + gamma L_C``.

    Args:
        train: with the soft labels where they are stored.
        base: teacher of the soft labels otherwise, unless ``cfg.teacher`` is ``team``; it is not changed.

    Source:
        EED, eq. 19.
    """

    def loss(
        network: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor, soft: Tensor | None
    ) -> Tensor:
        assert isinstance(network, Ensemble)
        with recorded_activations(network) as activations:
            logits = network.member_logits(attacked).float()
        teacher = teacher_logits(network, base, clean, cfg) if soft is None else soft
        return joint_loss(network, logits, labels, activations, teacher=teacher, cfg=cfg)

    return loop.fit(ensemble, train, tune, cfg=cfg, loss=loss, context=context)


def joint_loss(
    ensemble: Ensemble,
    logits: Tensor,
    labels: Tensor,
    activations: list[Tensor],
    *,
    teacher: Tensor | None,
    cfg: Joint,
) -> Tensor:
    """Joint loss of one batch, ``L = L_E + omega L_R + gamma L_C``.

    Args:
        logits: the members' logits on the attacked images, ``(members, n, k)``.
        activations: outputs of the activation layers.
        teacher: logits of the teacher for the images before the attack, ``(n, k)``; None without ``distill``.
    """
    members, _, classes = logits.shape
    probs = logits.softmax(2)
    total = (1 - cfg.prefixes) * _answers_loss(logits, labels, teacher, cfg)
    if cfg.prefixes:
        total = total + cfg.prefixes * _answers_loss(losses.prefix_log_means(logits), labels, teacher, cfg)
    if cfg.alpha:
        total = total + cfg.alpha * losses.mean_entropy(probs)
    if cfg.beta and 1 < members < classes:
        total = total + cfg.beta * losses.diversity(probs, labels)
    if cfg.omega:
        total = total + cfg.omega * losses.misclassified(probs, labels)
    if cfg.gamma:
        weights = losses.weight_magnitude(losses.prunable_weights(ensemble))
        units = losses.active_units(activations, tau=cfg.tau) if activations else logits.new_zeros(())
        total = total + cfg.gamma * (cfg.lambda1 * weights + cfg.lambda2 * units)
    return total


def _answers_loss(answers: Tensor, labels: Tensor, teacher: Tensor | None, cfg: Joint) -> Tensor:
    """Return cross-entropy and divergence from the teacher, summed over ``answers``, ``(members, n, k)``."""
    total = (1 - cfg.distill) * losses.members_cross_entropy(answers, labels, smoothing=cfg.label_smoothing)
    if teacher is None:
        return total
    return total + cfg.distill * torch.stack([losses.distillation(each, teacher) for each in answers]).sum()


@torch.no_grad()
def teacher_logits(ensemble: Ensemble, base: nn.Module, clean: Tensor, cfg: Joint) -> Tensor | None:
    """The teacher's logits for the clean images, ``(n, k)``, without a gradient; None without ``distill``.

    Source:
        ``team``: NEO-KD (Ham et al., NeurIPS 2023), whose exits follow the mean of their clean answers.
    """
    if not cfg.distill:
        return None
    if cfg.teacher == "base":
        answer: Tensor = base(clean).float()
        return answer
    training = ensemble.training
    ensemble.eval()  # batch norms neither take up nor use the statistics of the clean batch
    answer = ensemble(clean)
    ensemble.train(training)
    return answer


def loss_notes(cfg: Joint, ensemble: Ensemble, *, classes: int) -> list[str]:
    """A sentence for each loss term that is off for this ensemble although the recipe asks for it."""
    members, notes = len(ensemble.members), []
    if cfg.beta and not 1 < members < classes:
        notes.append(
            f"diversity term off: {members} members need at least {members + 1} classes, got {classes}"
        )
    if cfg.gamma * cfg.lambda2 and not any(isinstance(m, ACTIVATIONS) for m in ensemble.modules()):
        notes.append(
            "activation term off: no activation modules found; use torch.nn.ReLU instead of"
            " torch.nn.functional.relu"
        )
    return notes
