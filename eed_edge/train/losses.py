"""Loss terms of EED, one function each (eq. 14-19)."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_PROB = 1 - 1e-6
"""Upper bound of probabilities inside a logarithm of 1 - p."""
SMALLEST_PROB = 1e-30
"""Lower bound of the mean's probabilities: at 0 the entropy's gradient is infinite."""
GRAM_RIDGE = 1e-6
"""Added to the Gram matrix's diagonal before its determinant is taken."""


def members_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Sum over members of the mean cross-entropy.

    Args:
        logits: ``(members, n, k)``.
        labels: ``(n,)``.

    Source:
        EED, eq. 14, first term.
    """
    members, n, k = logits.shape
    per_member = F.cross_entropy(
        logits.reshape(members * n, k), labels.repeat(members), label_smoothing=smoothing, reduction="none"
    )
    return per_member.view(members, n).mean(1).sum()


def prefix_log_means(logits: Tensor) -> Tensor:
    """Log of the mean probabilities of the first ``t`` members, for each ``t``; shapes ``(members, n, k)``.

    Used as logits, they give the probabilities that the runtime answers with after each member.
    """
    sums = torch.logcumsumexp(logits.log_softmax(2), 0)
    steps = torch.arange(1, len(logits) + 1, dtype=logits.dtype, device=logits.device)
    return sums - steps.log()[:, None, None]


def mean_entropy(probs: Tensor) -> Tensor:
    """Negative entropy of the mean prediction (``Reg`` as a loss).

    Args:
        probs: ``(members, n, k)``.

    Source:
        EED, eq. 14; ADP (Pang et al., ICML 2019), eq. 3.
    """
    mean = probs.mean(0).clamp_min(SMALLEST_PROB)
    entropy: Tensor = torch.special.entr(mean).sum(1)
    return entropy.mean().neg()


def diversity(probs: Tensor, labels: Tensor) -> Tensor:
    """Negative log-volume spanned by the members' non-true-class predictions (``Div`` as a loss).

    Args:
        probs: ``(members, n, k)`` with members <= k - 1; else the Gram matrix is singular.
        labels: ``(n,)``.

    Source:
        EED, eq. 14; ADP (Pang et al., ICML 2019), eq. 4, with ``G + 1e-6 I``.
    """
    members, n, k = probs.shape
    wrong = torch.ones(n, k, dtype=torch.bool, device=probs.device).scatter_(1, labels[:, None], False)
    rest = probs[:, wrong].view(members, n, k - 1).transpose(0, 1)  # (n, members, k - 1)
    rest = F.normalize(rest.double(), dim=2)  # members that agree leave a determinant near 1e-6
    gram = rest @ rest.transpose(1, 2)  # (n, members, members)
    ridge = GRAM_RIDGE * torch.eye(members, dtype=gram.dtype, device=probs.device)
    return torch.logdet(gram + ridge).mean().neg().to(probs.dtype)


def misclassified(probs: Tensor, labels: Tensor) -> Tensor:
    """Loss on the strongest wrong class of any member where the mean is wrong (``L_R``).

    ``-log(1 - max_i max_{j != y} p^i_j)`` for an example that the mean misclassifies, 0 for a
    correct one; averaged over the batch.

    Args:
        probs: ``(members, n, k)``.
        labels: ``(n,)``.

    Source:
        EED, eq. 15, after iGAT (Deng and Mu, NeurIPS 2023).
    """
    wrong = probs.scatter(2, labels.expand(len(probs), -1)[:, :, None], 0)
    strongest = wrong.amax((0, 2)).clamp_max(LARGEST_PROB)
    missed = probs.detach().mean(0).argmax(1) != labels
    return (torch.log1p(-strongest).neg() * missed).mean()


def weight_magnitude(weights: Iterable[Tensor]) -> Tensor:
    """Mean absolute weight over all tensors together (first term of ``L_C``, as a mean).

    Source:
        EED, eq. 16.
    """
    tensors = list(weights)
    return torch.stack([tensor.abs().sum() for tensor in tensors]).sum() / sum(t.numel() for t in tensors)


def active_units(activations: Sequence[Tensor], *, tau: float) -> Tensor:
    """Smoothed share of active units, ``|a| / (|a| + tau)``, averaged over layers (second term of ``L_C``).

    Source:
        EED, eq. 16; the count of non-zero activations has no gradient, hence the smoothing.
    """
    shares = [a.abs().div(a.abs() + tau).mean() for a in activations]
    return torch.stack(shares).mean()


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL divergence of ``logits`` ``(n, k)`` from the teacher's logits ``(n, k)``."""
    return F.kl_div(
        F.log_softmax(logits, 1), F.log_softmax(teacher, 1), reduction="batchmean", log_target=True
    )


def prunable_weights(net: nn.Module) -> list[Tensor]:
    """Weights of convolutions and linear layers, which ``weight_magnitude`` counts."""
    return [m.weight for m in net.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear))]
