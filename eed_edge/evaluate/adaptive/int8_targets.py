"""Extra attack targets for an int8 bundle: its members before quantising, and the files as a black box."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eed_edge.evaluate.adaptive.soft_gates import SmoothGate
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.runtime.engine.cascade import Cascade

Target = tuple[nn.Module, Sequence[nn.Module]]
"""A network to attack, and the networks that it consists of."""


class DeployedLogits(nn.Module):
    """The deployed rule's answer as log-probabilities ``(n, k)``, by the runtime; it has no gradient."""

    def __init__(self, deployed: Cascade) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, images: Tensor) -> Tensor:
        probs = self.deployed(images.detach().cpu().contiguous().numpy()).probs
        return torch.from_numpy(probs).clamp_min(torch.finfo(torch.float32).tiny).log().to(images.device)


def int8_targets(models: ModelsCompared) -> dict[str, Target]:
    """Return ``float-<t>`` for every prefix of the float members, ``float_rule`` and ``bundle``.

    A float bundle has none of them. Rounding can hide gradients. Where the copy's straight-through gradient
    leads nowhere, images attacked on the float members may still fool the int8 files, and so may random
    search, which needs no gradient.
    """
    if models.float_members is None:
        return {}
    members = list(models.float_members.members)
    targets: dict[str, Target] = {
        f"float-{t}": (models.float_members.prefix(t), members[:t]) for t in range(1, len(members) + 1)
    }
    gate = SmoothGate(models.float_members, models.deployed).eval()
    targets["float_rule"] = gate, list(gate.ensemble.members)
    targets["bundle"] = DeployedLogits(models.deployed), ()
    return targets
