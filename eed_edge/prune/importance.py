"""Importance scores of a network's channels (EED, sec. 3.2).

Each score is called with a coupled group and gives one number per channel of it.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from eed_edge.attacks.interface import frozen
from eed_edge.prune.channels.equality import double_if_possible
from eed_edge.prune.channels.layer_kinds import LAYERS, NORMS, channel_dim, is_depthwise
from eed_edge.prune.channels.structure import Group, Structure


class LayerScores:
    """Scores per layer and output channel, looked up by coupled group.

    Args:
        scores: layer name to ``(outputs,)`` scores, 0 or more.
    """

    def __init__(self, scores: Mapping[str, Tensor]) -> None:
        self.scores = dict(scores)

    def __call__(self, group: Group) -> Tensor:
        """One score per channel of ``group``: the mean over the layers that produce it."""
        produced = []
        for name in (name for name in group.producers if name in self.scores):
            scores, positions = self.scores[name], group.outputs[name]
            if not positions.are_all(len(scores)):
                here, there = (at.to(scores.device) for at in (positions.of_layer, positions.of_group))
                sums = scores.new_zeros(group.channels).index_add(0, there, scores[here])
                scores = sums * group.channels / len(here)
            produced.append(scores)
        return torch.stack(produced).mean(0)


Score = Callable[[nn.Module, Structure, Tensor, Tensor], LayerScores]
"""``score(net, structure, attacked, labels)``; attacked ``(n, c, h, w)`` in [0, 1]."""


def nis(net: nn.Module, structure: Structure, attacked: Tensor, labels: Tensor) -> LayerScores:
    """Neuron importance, propagated from the last layer backwards: ``I_i = |w_{i+1}|^T I_{i+1}``.

    The recursion is the gradient of the summed output of the network made of absolute weights:
    ``|w|`` is summed over a kernel, batch norm scales by ``|gamma| / sqrt(var + eps)``, a residual
    sum passes importance to both branches and adds where branches split. Circular padding makes
    every kernel tap count at every position, so positions can be summed.

    Source:
        EED, eq. 7-8; Yu et al., "NISP", CVPR 2018. Importance of the last layer is all ones.
    """
    return _propagated(net, attacked, read_at={})


def nis_norm(net: nn.Module, structure: Structure, attacked: Tensor, labels: Tensor) -> LayerScores:
    """Neuron importance as ``nis`` has it, but behind the batch norm of a layer instead of before it.

    A layer's weights can grow and its norm undo it: ``nis`` then changes, although the network does not.
    This score does not.
    """
    return _propagated(net, attacked, read_at=structure.norm_of)


def _propagated(net: nn.Module, attacked: Tensor, *, read_at: Mapping[str, str]) -> LayerScores:
    """Importance of each layer's outputs, or of those of another module that ``read_at`` names for it."""
    # All ones stay positive through the normalisation only if it is undone: start above its mean.
    absolute, image = double_if_possible(copy.deepcopy(net).eval(), torch.full_like(attacked[:1], 2.0))
    for module in absolute.modules():
        if isinstance(module, LAYERS):
            module.weight.data.abs_()
            if module.bias is not None:
                module.bias.data.zero_()
            if _pads_with_zeros(module):
                module.register_forward_pre_hook(_pad_circularly)
        elif isinstance(module, NORMS):
            if module.affine:
                module.weight.data.abs_()
                module.bias.data.zero_()
            if module.running_mean is not None:
                module.running_mean.zero_()
    outputs: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            outputs.setdefault(name, []).append(output)

        return hook

    for name, module in absolute.named_modules():
        if isinstance(module, LAYERS):
            absolute.get_submodule(read_at.get(name, name)).register_forward_hook(keep(name))
    with torch.enable_grad():
        total = absolute(image.requires_grad_(True)).sum()
        names = [name for name, calls in outputs.items() for _ in calls]
        tensors = [tensor for calls in outputs.values() for tensor in calls]
        gradients = torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)
    scores: dict[str, Tensor] = {}
    for name, gradient in zip(names, gradients, strict=True):
        channels = channel_dim(net.get_submodule(name), gradient)
        positions = gradient.sum(dim=[d for d in range(gradient.dim()) if d != channels])
        scores[name] = scores.get(name, 0) + positions
    return LayerScores(scores)  # float64 if possible: products over many layers exceed float32's range


def erm(net: nn.Module, structure: Structure, attacked: Tensor, labels: Tensor) -> LayerScores:
    """Weight magnitude, scaled per layer: ``eta * |w| / max|w|``, averaged over a channel's weights.

    Source:
        EED, eq. 9; HYDRA (Sehwag et al., NeurIPS 2020) with ``eta = sqrt(6 / fan_in)``.
    """
    scores = {}
    for name, weight in _weights(net).items():
        eta = math.sqrt(6 / weight.shape[1])
        scores[name] = eta * (weight.abs() / weight.abs().max().clamp_min(1e-12)).mean(1)
    return LayerScores(scores)


def ase(net: nn.Module, structure: Structure, attacked: Tensor, labels: Tensor) -> LayerScores:
    """Adversarial saliency: ``1/2 * d2L/dw2 * w^2`` under attack, summed over a channel's weights.

    The Hessian's diagonal is the empirical Fisher: the mean over images of squared gradients.

    Source:
        EED, eq. 10; MAD (Lee et al., 2022).
    """
    layers = {name: net.get_parameter(f"{name}.weight") for name in _weights(net)}
    fisher = {name: torch.zeros_like(weight) for name, weight in layers.items()}
    with frozen(net):
        for weight in layers.values():
            weight.requires_grad_(True)
        for image, label in zip(attacked, labels, strict=True):
            loss = F.cross_entropy(net(image[None]), label[None])
            gradients = torch.autograd.grad(
                loss,
                list(layers.values()),
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(layers, gradients, strict=True):
                fisher[name] += gradient.square()
        for weight in layers.values():
            weight.requires_grad_(False)
    scores = {
        name: _per_channel(
            net.get_submodule(name),
            0.5 * fisher[name] / len(labels) * weight.detach().square(),
        ).sum(1)
        for name, weight in layers.items()
    }
    return LayerScores(scores)


def bnsf(net: nn.Module, structure: Structure, attacked: Tensor, labels: Tensor) -> LayerScores:
    """Magnitude of the effective weight ``gamma * w / sqrt(var + eps)``, summed over a channel's weights.

    A layer without a batch norm behind it gets scale 1.

    Source:
        EED, eq. 11; BNAP.
    """
    scores = {}
    for name, weight in _weights(net).items():
        scale = torch.ones(len(weight), device=weight.device)
        if name in structure.norm_of:
            norm = net.get_submodule(structure.norm_of[name])
            gamma = norm.weight.detach() if norm.affine else scale  # type: ignore[operator]
            scale = gamma * torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator]
        scores[name] = weight.abs().sum(1) * scale.abs()
    return LayerScores(scores)


def without_norm(structure: Structure) -> list[str]:
    """Layers without a batch norm behind them, whose weights ``bnsf`` does not scale."""
    producers = [name for group in structure.groups for name in group.producers]
    return [name for name in producers if name not in structure.norm_of]


SCORES: dict[str, Score] = {"nis": nis, "erm": erm, "ase": ase, "bnsf": bnsf, "nis-norm": nis_norm}
"""Every score by name; the order seeds the data subsets, so a new one goes to the end."""


def _weights(net: nn.Module) -> dict[str, Tensor]:
    """Weights of each layer that has its own, ``(outputs, weights of one channel)``."""
    return {
        name: _per_channel(module, module.weight.detach())
        for name, module in net.named_modules()
        if isinstance(module, LAYERS) and isinstance(module._parameters.get("weight"), nn.Parameter)
    }


def _per_channel(layer: nn.Module, weight: Tensor) -> Tensor:
    """Reshape a weight of ``layer`` to ``(outputs, weights of one channel)``."""
    if isinstance(layer, _ConvTransposeNd) and not is_depthwise(layer):
        return weight.transpose(0, 1).flatten(1)
    return weight.flatten(1)


def _pad_circularly(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Pad this call circularly, unless the image is smaller than the padding."""
    fits = all(pad <= size for pad, size in zip(layer.padding, inputs[0].shape[2:], strict=True))
    layer.padding_mode = "circular" if fits else "zeros"


def _pads_with_zeros(layer: nn.Module) -> bool:
    """Whether circular padding can take the place of its padding."""
    return (
        isinstance(layer, _ConvNd)
        and layer.padding_mode == "zeros"
        and not layer.transposed
        and not isinstance(layer.padding, str)
    )
