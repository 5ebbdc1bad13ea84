"""Coupled channel groups of a network: torch-pruning proposes them, a trial on random weights judges them.

A residual sum couples the layers on both of its branches; such layers can only lose the same
channels. The last layer's outputs are the classes and are never pruned.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from eed_edge.errors import NetworkError
from eed_edge.prune.channels.equality import failing_groups
from eed_edge.prune.channels.layer_cost import layer_costs
from eed_edge.prune.channels.layer_kinds import (
    LAYERS,
    NORMS,
    PER_CHANNEL_NORMS,
    UnprunableError,
    channel_dims,
    is_depthwise,
)
from eed_edge.prune.channels.structure import Group, Positions, Structure, Unpruned
from eed_edge.train.networks.resize import Removable

RESHAPED = "pruned and masked answers differ, they are reshaped, split, shuffled, normed or shifted behind it"

UNTRACEABLE = "torch-pruning cannot follow them through the layers behind it"


def analyse(net: nn.Module, image: Tensor) -> Structure:
    """Find the coupled groups of ``net`` that can be pruned, and why the others cannot.

    Args:
        image: one example ``(1, c, h, w)``.

    Raises:
        NetworkError: torch-pruning cannot trace the network, or nothing is left to prune.
    """
    graph = trace(net, image)
    names = {module: name for name, module in net.named_modules()}
    names |= graph._param_to_name
    proposed: list[Group] = []
    unpruned: list[Unpruned] = []
    for module, coupled in _coupled(graph):
        if coupled is None:
            unpruned.append(Unpruned((names[module],), graph.get_out_channels(module), UNTRACEABLE))
            continue
        try:
            group = _group(graph, coupled, names)
        except UnprunableError as reason:
            unpruned.append(_unpruned(coupled, names, str(reason)))
            continue
        proposed += [group] if group else []
    failing = failing_groups(net, proposed, image)
    groups = tuple(group for group in proposed if group.root not in failing)
    unpruned += [
        Unpruned(group.producers, group.channels, RESHAPED) for group in proposed if group.root in failing
    ]
    if not groups:
        why = f" ({unpruned[0].reason})" if unpruned else ""
        raise NetworkError(
            f"no channels to prune{why}; expected plain convolutions or linear layers one behind the other,"
            " with batch norm or none between them"
        )
    return Structure(groups, tuple(unpruned), tuple(layer_costs(net, groups, image)), _norm_of(graph, names))


def trace(net: nn.Module, image: Tensor) -> Any:
    """torch-pruning's dependency graph of ``net``, in evaluation mode.

    Raises:
        NetworkError: the network cannot be traced.
    """
    training = net.training
    required_grad = [parameter.requires_grad for parameter in net.parameters()]
    try:
        net.eval().requires_grad_(True)
        with torch.enable_grad(), warnings.catch_warnings():  # the graph is read off autograd
            warnings.simplefilter("ignore")
            return tp.DependencyGraph().build_dependency(
                net, example_inputs=image, forward_fn=lambda model, example: model(example), verbose=False
            )
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


def _coupled(graph: Any) -> Iterator[tuple[nn.Module, Any]]:
    """Each layer with torch-pruning's group of its outputs; layers whose outputs came before are left out.

    The group is None where torch-pruning cannot follow the channels, as through hundreds of steps of a GRU.
    """
    visited: set[Any] = set()
    for module in [module for module in graph.module2node if isinstance(module, LAYERS)]:
        if module in visited:
            continue
        prune = graph.get_pruner_of_module(module).prune_out_channels
        channels = range(graph.get_out_channels(module))
        try:
            coupled = graph.get_pruning_group(module, prune, list(channels))
        except Exception:  # index arithmetic inside torch-pruning
            yield module, None
            continue
        visited |= {dep.target.module for dep, _ in coupled if graph.is_out_channel_pruning_fn(dep.handler)}
        yield module, coupled


def _group(graph: Any, coupled: Any, names: Mapping[Any, str]) -> Group | None:
    """The group, or None where its channels are the classes or a single one.

    Raises:
        UnprunableError: a layer or an index shows that it cannot be pruned channel by channel.
    """
    root = coupled[0].dep.target.module
    channels = graph.get_out_channels(root)
    sides: dict[str, dict[str, Positions]] = {"outputs": {}, "inputs": {}}
    shared = _shared_parameters(graph.model)
    for item in coupled:
        module = item.dep.target.module
        if isinstance(module, tp.ops._OutputOp):
            raise UnprunableError("they reach the network's output")
        if module not in names:
            continue
        side = "outputs" if graph.is_out_channel_pruning_fn(item.dep.handler) else "inputs"
        _check_layer(module, names[module], side, shared)
        sides[side][names[module]] = _positions(item, names[module], channels)
    producers = [name for name in sides["outputs"] if isinstance(_module(graph.model, name), LAYERS)]
    if not sides["inputs"] or channels == 1:
        return None
    masked_at = [
        name for name in sides["outputs"] if isinstance(_module(graph.model, name), PER_CHANNEL_NORMS)
    ] + [name for name in producers if not _followed_by(graph, name, PER_CHANNEL_NORMS)]
    return Group(
        names[root],
        channels,
        sides["outputs"],
        sides["inputs"],
        tuple(producers),
        tuple(masked_at),
        _branch(names[root], producers, graph.model),
    )


def _check_layer(module: Any, name: str, side: str, shared: Mapping[int, tuple[str, ...]]) -> None:
    """Refuse layers that cannot lose channels.

    Raises:
        UnprunableError: it is one.
    """
    parameters = [module] if isinstance(module, nn.Parameter) else list(module.parameters(recurse=False))
    for parameter in parameters:
        if id(parameter) in shared:
            raise UnprunableError(f"{' and '.join(shared[id(parameter)])} are one weight")
    if not isinstance(module, nn.Parameter):
        try:
            channel_dims(module, side)
        except UnprunableError as error:
            raise UnprunableError(f"{name} {error}") from None


def _positions(item: Any, name: str, channels: int) -> Positions:
    """The places of the group's channels in one layer.

    Raises:
        UnprunableError: channels do not go one with one, or several with one, for all of the group.
    """
    of_layer, of_group = list(item.idxs), list(item.root_idxs)
    if None in of_group or len(set(of_layer)) < len(of_layer) or set(of_group) != set(range(channels)):
        raise UnprunableError(f"{name} takes its channels from a reshaped or split tensor")
    if len(set(Counter(of_group).values())) > 1:
        raise UnprunableError(f"{name} takes some channels more often than others")
    return Positions(torch.tensor(of_layer), torch.tensor(of_group))


def _shared_parameters(net: nn.Module) -> dict[int, tuple[str, ...]]:
    """Parameters that several layers have, by id, with the names of these layers."""
    owners: dict[int, list[str]] = {}
    for name, module in net.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(name)
    return {key: tuple(layers) for key, layers in owners.items() if len(layers) > 1}


def _module(net: nn.Module, name: str) -> nn.Module | None:
    """The layer of that name, or None where it names a parameter."""
    try:
        return net.get_submodule(name)
    except AttributeError:
        return None


def _followed_by(graph: Any, name: str, kinds: tuple[type, ...]) -> bool:
    """Whether nothing but layers of these kinds takes the layer's outputs."""
    after = graph.module2node[graph.model.get_submodule(name)].outputs
    return bool(after) and all(isinstance(node.module, kinds) for node in after)


def _norm_of(graph: Any, names: Mapping[Any, str]) -> dict[str, str]:
    return {
        names[module]: names[node.outputs[-1].module]
        for module, node in graph.module2node.items()
        if isinstance(module, LAYERS) and module in names and _followed_by(graph, names[module], NORMS)
    }


def _unpruned(coupled: Any, names: Mapping[Any, str], reason: str) -> Unpruned:
    root = coupled[0].dep.target.module
    layers = [
        names[dep.target.module]
        for dep, _ in coupled
        if isinstance(dep.target.module, LAYERS)
        and (is_depthwise(dep.target.module) or dep.handler.__name__ == "prune_out_channels")
    ]
    outputs = root.out_features if isinstance(root, nn.Linear) else root.out_channels
    return Unpruned((names[root], *(name for name in layers if name != names[root])), outputs, reason)


def _branch(root: str, producers: Sequence[str], net: nn.Module) -> str:
    """The module whose removable branch the group is inside of, or the empty string."""
    above, _, layer = root.rpartition(".")
    module = net.get_submodule(above)
    return above if isinstance(module, Removable) and [root] == [*producers] and layer == module.inner else ""
