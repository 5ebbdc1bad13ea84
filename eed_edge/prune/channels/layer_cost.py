"""Cost of each layer of a network: parameters, and multiply-accumulates for one image."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from eed_edge.prune.channels.layer_kinds import LAYERS, channel_dims, is_depthwise
from eed_edge.prune.channels.structure import Group, Layer


def count_cost(net: nn.Module, image: Tensor) -> tuple[int, int]:
    """Count the parameters of ``net`` and its multiply-accumulates for one image ``(1, c, h, w)``.

    Convolutions and linear layers count; additions, norms and activations do not.
    """
    return sum(parameter.numel() for parameter in net.parameters()), sum(_macs(net, image).values())


def layer_costs(net: nn.Module, groups: Sequence[Group], image: Tensor) -> list[Layer]:
    """Cost of every layer that a group touches, and one entry for all that does not shrink."""
    macs, shares = _macs(net, image), _shares(net, groups)
    counted: set[int] = set()
    layers = []
    for name, module in net.named_modules():
        inputs, outputs = (shares[side].get(name, {}) for side in ("inputs", "outputs"))
        if not inputs and not outputs:
            layers.append(Layer(name, 0, 0, macs.get(name, 0), {}, {}))
            continue
        dims = channel_dims(module, "outputs")
        sizes = {
            attribute: module._parameters[attribute] for attribute in dims if attribute in module._parameters
        }
        counted |= {id(parameter) for parameter in sizes.values()}
        numbers = {attribute: tensor.numel() for attribute, tensor in sizes.items() if tensor is not None}
        weights = numbers.pop("weight", 0) if isinstance(module, LAYERS) else 0
        layers.append(Layer(name, weights, sum(numbers.values()), macs.get(name, 0), inputs, outputs))
    rest = 0
    for name, parameter in net.named_parameters():
        if name in shares["outputs"]:
            layers.append(Layer(name, 0, parameter.numel(), 0, {}, shares["outputs"][name]))
        elif id(parameter) not in counted:
            rest += parameter.numel()
    return [layer for layer in layers if layer.weights or layer.biases or layer.macs] + [
        Layer("", 0, rest, 0, {}, {})
    ]


def _shares(net: nn.Module, groups: Sequence[Group]) -> dict[str, dict[str, dict[str, float]]]:
    """By side, layer and group root: the share of the layer's channels that the group makes up."""
    shares: dict[str, dict[str, dict[str, float]]] = {"inputs": {}, "outputs": {}}
    for group in groups:
        for side, layers in (("outputs", group.outputs), ("inputs", group.inputs)):
            for name, positions in layers.items():
                shares[side].setdefault(name, {})[group.root] = len(positions.of_layer) / _channels(
                    net, name, side
                )
    return shares


def _channels(net: nn.Module, name: str, side: str) -> int:
    """Number of outputs or inputs of a layer, or the channels of a parameter of its own."""
    parameters = dict(net.named_parameters())
    if name in parameters:
        return max(size for size in parameters[name].shape[::-1] if size > 1)
    module = net.get_submodule(name)
    if isinstance(module, nn.Linear):
        return int(module.out_features if side == "outputs" else module.in_features)
    if isinstance(module, _ConvNd):
        return int(module.out_channels if side == "outputs" or is_depthwise(module) else module.in_channels)
    sizes = vars(module)
    return int(sizes["num_parameters" if isinstance(module, nn.PReLU) else "num_features"])


def _macs(net: nn.Module, image: Tensor) -> Mapping[str, int]:
    """Convolutions and linear layers that ran on ``image``, by name, with their multiply-accumulates."""
    macs: dict[str, int] = {}

    def count(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            weight: Any = module.weight
            if isinstance(module, _ConvTransposeNd):
                positions = inputs[0].numel() // module.in_channels
            else:
                positions = output.numel() // weight.shape[0]
            macs[name] = macs.get(name, 0) + positions * weight.numel()

        return hook

    hooks = [
        module.register_forward_hook(count(name))
        for name, module in net.named_modules()
        if isinstance(module, LAYERS)
    ]
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(image)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return macs
