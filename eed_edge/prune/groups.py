"""Coupled channel groups of a network, from torch-pruning, and the cost of each layer.

A residual sum couples the layers on both of its branches; such layers can only lose the same
channels. The last layer's outputs are the classes and are never pruned.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from eed_edge.errors import NetworkError
from eed_edge.train.networks.resize import Removable

log = logging.getLogger(__name__)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    root: name of the layer that torch-pruning starts from.
    channels: their number.
    producers: names of the convolutions and linear layers that output them.
    norms: names of their batch norms.
    coupled: torch-pruning's group, the argument of an importance score.
    branch: name of the module whose ``Removable`` branch has these channels inside, or "".
    """

    root: str
    channels: int
    producers: tuple[str, ...]
    norms: tuple[str, ...]
    coupled: Any
    branch: str = ""


@dataclass(frozen=True)
class Layer:
    """Cost of one unpruned layer, and the groups of its inputs and outputs.

    weights, biases: numbers of parameters that shrink with inputs × outputs, and with outputs only.
    macs: multiply-accumulates for one image.
    inputs, outputs: group root to the share of this layer's inputs or outputs that it makes up.
    """

    weights: int
    biases: int
    macs: int
    inputs: Mapping[str, float]
    outputs: Mapping[str, float]


@dataclass(frozen=True)
class Structure:
    """Prunable channels of a network, and the cost of any choice of widths."""

    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    norm_of: Mapping[str, str]
    """Convolution or linear layer to the batch norm that follows it."""

    def cost(self, keep_ratio: Mapping[str, Any]) -> tuple[Any, Any]:
        """Parameters and MACs when each group keeps a share of its channels.

        Exact, except that the norm at the end of a branch without channels still counts.

        Args:
            keep_ratio: group root to a share in [0, 1], a float or a tensor (then differentiable).
        """
        params: Any = 0.0
        macs: Any = 0.0
        for layer in self.layers:
            inputs: Any = 1 - sum(share * (1 - keep_ratio[root]) for root, share in layer.inputs.items())
            outputs: Any = 1 - sum(share * (1 - keep_ratio[root]) for root, share in layer.outputs.items())
            params = params + (layer.weights * inputs + layer.biases) * outputs
            macs = macs + layer.macs * inputs * outputs
        return params, macs


def analyse(net: nn.Module, image: Tensor) -> tuple[Structure, Any]:
    """Find the coupled groups of ``net`` and torch-pruning's dependency graph.

    Args:
        image: one example ``(1, c, h, w)``.

    Raises:
        NetworkError: torch-pruning cannot trace the network, or finds nothing to prune.
    """
    graph = trace(net, image)
    names = {module: name for name, module in net.named_modules()}
    groups, inputs, outputs = [], _Shares(), _Shares()
    for coupled in graph.get_all_groups(ignored_layers=[], root_module_types=[*CONVOLUTIONS, nn.Linear]):
        group = _group(graph, coupled, names)
        if group is None:
            continue
        groups.append(group)
        for dependency, indices in coupled:
            module = dependency.target.module
            if module not in names:
                continue
            if graph.is_out_channel_pruning_fn(dependency.handler):
                outputs.add(names[module], group.root, len(indices) / graph.get_out_channels(module))
            else:
                inputs.add(names[module], group.root, len(indices) / graph.get_in_channels(module))
    if not groups:
        raise NetworkError(
            "torch-pruning found no channels to prune; expected convolutions with a classifier behind"
        )
    layers = tuple(_layers(net, image, inputs.shares, outputs.shares))
    norm_of = {
        names[module]: names[after.module]
        for module, node in graph.module2node.items()
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and module in names
        for after in node.outputs
        if isinstance(after.module, NORMS)
    }
    return Structure(tuple(groups), layers, norm_of), graph


def trace(net: nn.Module, image: Tensor) -> Any:
    """torch-pruning's dependency graph of ``net``, in evaluation mode.

    Raises:
        NetworkError: the network cannot be traced.
    """
    training = net.training
    required_grad = [parameter.requires_grad for parameter in net.parameters()]
    try:
        net.eval().requires_grad_(True)
        with torch.enable_grad():  # the graph is read off autograd
            return tp.DependencyGraph().build_dependency(net, example_inputs=image)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise NetworkError(
            f"torch-pruning cannot trace the network ({type(error).__name__}: {reason});"
            " use plain modules without data-dependent control flow"
        ) from error
    finally:
        net.train(training)
        for parameter, flag in zip(net.parameters(), required_grad, strict=True):
            parameter.requires_grad_(flag)


def count_cost(net: nn.Module, image: Tensor) -> tuple[int, int]:
    """Count the parameters of ``net`` and its multiply-accumulates for one image ``(1, c, h, w)``.

    Convolutions and linear layers count; additions, norms and activations do not.
    """
    macs = sum(layer_macs for _, layer_macs in _run(net, image).values())
    return sum(parameter.numel() for parameter in net.parameters()), macs


class _Shares:
    """Shares by layer name and group root."""

    def __init__(self) -> None:
        self.shares: dict[str, dict[str, float]] = {}

    def add(self, layer: str, root: str, share: float) -> None:
        of_layer = self.shares.setdefault(layer, {})
        of_layer[root] = min(1.0, of_layer.get(root, 0.0) + share)


def _group(graph: Any, coupled: Any, names: Mapping[nn.Module, str]) -> Group | None:
    """The group, or None where its channels are the classes or it cannot be pruned channel by channel."""
    root = coupled[0].dep.target.module
    producers, norms, consumed = [], [], False
    for dependency, _ in coupled:
        module = dependency.target.module
        if not graph.is_out_channel_pruning_fn(dependency.handler):
            consumed = True
        elif isinstance(module, NORMS):
            norms.append(names[module])
        elif isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            producers.append(names[module])
            if isinstance(module, CONVOLUTIONS) and 1 < module.groups < module.out_channels:
                log.info("%s: grouped convolution, its channels are not pruned", names[module])
                return None
    if not consumed:
        return None
    return Group(
        names[root],
        graph.get_out_channels(root),
        tuple(producers),
        tuple(norms),
        coupled,
        _branch(names[root], producers, {name: module for module, name in names.items()}),
    )


def _branch(root: str, producers: Sequence[str], modules: Mapping[str, nn.Module]) -> str:
    """The module whose removable branch the group is inside of, or the empty string."""
    above, _, layer = root.rpartition(".")
    module = modules.get(above)
    return above if isinstance(module, Removable) and [root] == [*producers] and layer == module.inner else ""


def _layers(
    net: nn.Module, image: Tensor, inputs: dict[str, dict[str, float]], outputs: dict[str, dict[str, float]]
) -> list[Layer]:
    layers = []
    for name, (module, macs) in _run(net, image).items():
        sizes = {kind: parameter.numel() for kind, parameter in module.named_parameters(recurse=False)}
        layers.append(
            Layer(sizes["weight"], sizes.get("bias", 0), macs, inputs.get(name, {}), outputs.get(name, {}))
        )
    counted = sum(layer.weights + layer.biases for layer in layers)
    for name, module in net.named_modules():
        if isinstance(module, NORMS) and module.affine:
            layers.append(Layer(0, 2 * module.num_features, 0, {}, outputs.get(name, {})))
            counted += 2 * module.num_features
    if rest := sum(parameter.numel() for parameter in net.parameters()) - counted:
        layers.append(Layer(0, rest, 0, {}, {}))
    return layers


def _run(net: nn.Module, image: Tensor) -> dict[str, tuple[nn.Module, int]]:
    """Convolutions and linear layers by name, with their MACs for ``image``."""
    layers: dict[str, tuple[nn.Module, int]] = {}

    def count_macs(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            weights: Tensor = module.weight  # type: ignore[assignment]
            macs = output.numel() // weights.shape[0] * weights.numel()
            before = layers[name][1] if name in layers else 0
            layers[name] = (module, before + macs)

        return hook

    hooks = [
        module.register_forward_hook(count_macs(name))
        for name, module in net.named_modules()
        if isinstance(module, (*CONVOLUTIONS, nn.Linear))
    ]
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(image)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return layers
