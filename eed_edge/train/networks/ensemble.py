"""Ensemble of networks whose prediction is the mean of their softmax outputs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Mish, nn.Hardswish, nn.Tanh
)  # fmt: skip


class Ensemble(nn.Module):
    """Members in running order; its output is the log of their mean probabilities, as logits.

    ``logsumexp`` over members of log-softmax, minus ``log N``: exact log-probabilities, on which
    gradient attacks work as on a single network's logits (EED, eq. 20).
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        log_probs = self.member_logits(images).float().log_softmax(2)
        return torch.logsumexp(log_probs, 0) - math.log(len(self.members))

    def member_logits(self, images: Tensor) -> Tensor:
        """Logits of every member, ``(members, n, k)``."""
        return torch.stack([member(images) for member in self.members])

    def prefix(self, length: int) -> "Ensemble":
        """The first members only; weights are shared with this ensemble."""
        return Ensemble(list(self.members)[:length])


@contextmanager
def recorded_activations(net: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs of every activation module inside the block."""
    outputs: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        for module in net.modules()
        if isinstance(module, ACTIVATIONS)
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
