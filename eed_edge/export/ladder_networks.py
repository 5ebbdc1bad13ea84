"""Write networks to measure into a folder: one architecture at many widths, nodes named after layers."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from eed_edge.atomic_files import atomic_folder
from eed_edge.errors import ExportError
from eed_edge.export.int8.quantise import LAYERS, quantise
from eed_edge.export.network_graph import to_onnx
from eed_edge.latency.ladder_index import INDEX, SLOT, Ladder, LadderNetwork, write_index
from eed_edge.prune.channels.equality import with_random_weights
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.groups import analyse
from eed_edge.prune.member_time import architecture_digest
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.score_search import ChannelScores
from eed_edge.recipe import Recipe
from eed_edge.train.networks.build import Classifier

log = logging.getLogger(__name__)
NETWORKS = 24
LEVELS = 6
"""Widths of a group that are tried, from the smallest to the full one, at about equal ratios."""
REMOVED = 0.25
"""Share of the removable branches that a network lacks: a table is good for ``prune.branches``, too."""
RANGE_NOISE = 16
"""Images of noise that activation ranges are measured on: they do not change how long int8 takes."""


def write_ladder(
    net: Classifier,
    image: Tensor,
    folder: Path,
    *,
    recipe: Recipe,
    number: int = NETWORKS,
    int8: bool = False,
) -> Ladder:
    """Write ``number`` networks of the architecture of ``net``, with random weights, and their index.

    The first is the unpruned one, the second the smallest; the others have widths drawn for each group.

    Args:
        image: one example ``(1, c, h, w)``.
        folder: a new folder, or one to replace that an earlier call wrote.
        int8: quantise them as ``eed-edge export --int8`` does.

    Raises:
        ExportError: a network cannot be exported, or ``folder`` holds something else.
        NetworkError: nothing can be pruned.
        StorageError: the disk is full.
    """
    _check_folder(folder)
    net, image = with_random_weights(net), image.cpu()  # type: ignore[assignment]
    structure = analyse(net, image)
    noise = np.random.default_rng(0).random((RANGE_NOISE, *image.shape[1:]), np.float32)
    entries = []
    with atomic_folder(folder) as target:
        for i, widths in enumerate(_drawn_widths(structure, recipe, number)):
            small = remove_channels(net, structure, _random_scores(structure), widths)
            model = to_onnx(small, image)
            layers = _layers_in_order(model, small)
            model = _named_after_layers(quantise(model, noise) if int8 else model, len(layers))
            file = f"network-{i}.onnx"
            (target / file).write_bytes(model)
            digest = hashlib.sha256(model).hexdigest()
            entries.append(
                LadderNetwork(file=file, sha256=digest, slots=tuple(layers), widths=_widths(small, layers))
            )
            log.info("%s: network %d of %d", folder, i + 1, number)
        ladder = Ladder(
            arch=f"{recipe.net.arch} of width {recipe.net.width}",
            architecture=architecture_digest(structure, tuple(image.shape[1:])),
            precision="int8" if int8 else "float32",
            input=(int(image.shape[1]), int(image.shape[2]), int(image.shape[3])),
            networks=tuple(entries),
        )
        write_index(target, ladder)
    return ladder


def _check_folder(folder: Path) -> None:
    """Raise unless the folder is new, empty, or has networks of an earlier call and nothing else."""
    others = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if INDEX in others:
        others -= {INDEX, *(path.name for path in folder.glob("network-*.onnx"))}
    if folder.exists() and others:
        raise ExportError(f"{folder}: expected a new folder, got one with {min(others)}; choose another")


def _drawn_widths(structure: Structure, recipe: Recipe, number: int) -> Iterator[dict[str, int]]:
    """Group root to width, of each network."""
    round_to, draw = recipe.prune.round_to, np.random.default_rng(0)
    levels = {group.root: _levels(group.channels, round_to) for group in structure.groups}
    yield {root: widths[-1] for root, widths in levels.items()}
    yield {root: widths[0] for root, widths in levels.items()}
    for _ in range(number - 2):
        yield {
            group.root: 0
            if group.branch and draw.random() < REMOVED
            else int(draw.choice(levels[group.root]))
            for group in structure.groups
        }


def _levels(channels: int, round_to: int) -> list[int]:
    """Multiples of ``round_to`` at about equal ratios, and all channels."""
    if channels <= round_to:
        return [channels]
    steps = np.geomspace(round_to, channels, LEVELS) / round_to
    return sorted({*(min(channels, int(step) * round_to) for step in steps.round()), channels})


def _random_scores(structure: Structure) -> ChannelScores:
    generator = torch.Generator().manual_seed(0)
    return ChannelScores(
        {group.root: torch.rand(group.channels, generator=generator) for group in structure.groups}, {}
    )


def _layers_in_order(model: bytes, net: Classifier) -> list[str]:
    """The layer of every node with weights, in order; a node of no layer goes with the one before."""
    graph = onnx.load_from_string(model).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = {
        name.removesuffix(".weight"): parameter.detach().numpy()
        for name, parameter in net.named_parameters()
        if name.endswith(".weight") and parameter.dim() > 1
    }
    layers: list[str] = []
    for node in (node for node in graph.node if node.op_type in LAYERS):
        layers.append(_owner(node, tensors, weights) or (layers[-1] if layers else ""))
    named = [layer for layer in layers if layer]
    if not named:
        raise ExportError("no layer of the network is left in its ONNX graph; use plain convolutions")
    return [layer or named[0] for layer in layers]


def _owner(node: Any, tensors: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> str:
    for name in (name for name in node.input if name in tensors):
        if name.removesuffix(".weight") in weights:
            return str(name.removesuffix(".weight"))
        values = onnx.numpy_helper.to_array(tensors[name])
        for layer, weight in weights.items():  # the exporter may store a weight transposed
            if values.ndim == weight.ndim == 2 and np.array_equal(values.T, weight):
                return layer
    return ""


def _widths(net: Classifier, layers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of these layers."""
    return {layer: _channels(net.get_submodule(layer)) for layer in dict.fromkeys(layers)}


def _channels(layer: Any) -> tuple[int, int]:
    if isinstance(layer, torch.nn.Linear):
        return layer.in_features, layer.out_features
    return (1 if layer.groups == layer.in_channels else layer.in_channels), layer.out_channels


def _named_after_layers(model: bytes, layers: int) -> bytes:
    """The model with nodes and tensors named by slots: a node without weights goes with the latest before it.

    onnxruntime names a fused node after one of its nodes or of its tensors, and its profile has that name.
    """
    parsed = onnx.load_from_string(model)
    graph, last_slot = parsed.graph, -1
    slots: dict[str, int] = {}
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    for i, node in enumerate(graph.node):
        if node.op_type in LAYERS:
            last_slot += 1
            slot = last_slot
        else:
            slot = max((slots[name] for name in node.input if name in slots), default=0)
        node.name = f"{SLOT}{slot}_{i}"
        for j, name in enumerate(node.output):
            slots[name] = slot
            if name not in fixed:
                names[name] = f"{SLOT}{slot}_{i}_{j}"
    if last_slot + 1 != layers:
        raise ExportError(
            f"expected {layers} layers after quantisation, got {last_slot + 1}; export without int8"
        )
    for node in graph.node:
        for part in (node.input, node.output):
            part[:] = [names.get(name, name) for name in part]
    return bytes(parsed.SerializeToString(deterministic=True))
