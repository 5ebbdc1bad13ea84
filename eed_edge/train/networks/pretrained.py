"""Load pretrained weights into the recipe's network: a checkpoint of this project, or a plain state dict."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from eed_edge.errors import CheckpointError
from eed_edge.files.regular_files import open_regular
from eed_edge.recipe import Net
from eed_edge.train.networks import checkpoint, state_dict
from eed_edge.train.networks.build import Classifier, arrange_memory, build_network
from eed_edge.train.networks.weight_matching import Match, MismatchError, match_weights

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of images in [0, 1], one number or one per channel."""


@dataclass(frozen=True)
class Pretrained:
    """A network with the weights of a file.

    sha256: digest of the file.
    notes: lines for the log: which tensor went where, and the normalisation.
    """

    net: Classifier
    sha256: str
    notes: tuple[str, ...]


def load_pretrained(path: Path, cfg: Net, *, classes: int, channels: int) -> Pretrained:
    """Build the recipe's network with the weights of a file.

    ``cfg.mean`` and ``cfg.std`` take precedence over a normalisation in the file.

    Raises:
        CheckpointError: the file is missing or damaged, or its weights do not fit the network.
        NetworkError: the network cannot be built.
    """
    if checkpoint.is_project_checkpoint(path):
        net, notes = _project_checkpoint(path, cfg, classes=classes, channels=channels)
    else:
        net, notes = _plain_state_dict(path, cfg, classes=classes, channels=channels)
    if cfg.mean:
        net.normalise.set(cfg.mean, cfg.std)
    arrange_memory(net)
    with open_regular(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Pretrained(net.eval(), digest, tuple(f"base.init: {note}" for note in notes))


def _project_checkpoint(path: Path, cfg: Net, *, classes: int, channels: int) -> tuple[Classifier, list[str]]:
    net, _ = checkpoint.load_network(path, named_arch=cfg.arch)
    expected = {"arch": cfg.arch, "width": cfg.width, "classes": classes, "channels": channels}
    for key, value in expected.items():
        if net.architecture[key] != value:
            raise CheckpointError(
                f"base.init: expected a network with {key} {value!r}, got {net.architecture[key]!r};"
                " take another file or change the recipe"
            )
    for name, tensor in net.state_dict().items():
        _check_finite(tensor, f"{path}: {name}")
    return net, [f"{path.name}: checkpoint of this project", _normalised(cfg, "its normalisation")]


def _plain_state_dict(path: Path, cfg: Net, *, classes: int, channels: int) -> tuple[Classifier, list[str]]:
    weights = state_dict.read_state_dict(path)
    net = build_network(cfg.arch, classes=classes, channels=channels, width=cfg.width)
    target, tensors = net.body.state_dict(), dict(weights.tensors)
    buffers = _normalisation(tensors, target, channels)
    values = [_converted(tensors.pop(name), net.normalise.mean, f"{path}: {name}") for name in buffers]
    _fill_shared(tensors, net.body)
    try:
        matched = match_weights(_shapes(tensors), _shapes(target), arch=cfg.arch, ordered=weights.ordered)
    except MismatchError as error:
        raise CheckpointError(
            f"{path}: {error}; expected weights of {cfg.arch} with width {cfg.width}, {classes} classes and"
            f" {channels} channels: change net.arch or net.width, or take other weights"
        ) from error
    for name, source in matched.names.items():
        target[name] = _converted(tensors[source], target[name], f"{path}: {source}")
    net.body.load_state_dict(target)
    return net, [*_table(path, matched, target), _set_normalisation(net, cfg, path, buffers, values)]


def _fill_shared(tensors: dict[str, Tensor], body: nn.Module) -> None:
    """Give every name of a shared tensor the values of the one name under which the file has it, in place."""
    names: dict[int, list[str]] = {}
    for name, tensor in body.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    for shared in names.values():
        for name in shared:
            for other in (other for other in shared if other in tensors):
                tensors.setdefault(name, tensors[other])
                break


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _converted(tensor: Tensor, target: Tensor, where: str) -> Tensor:
    """The tensor in the dtype of the network's; half precision becomes single.

    Raises:
        CheckpointError: it is sparse, quantised, without values, of another kind of number or not finite.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantised" if tensor.is_quantized else "meta" if tensor.is_meta else tensor.layout
        raise CheckpointError(f"{where}: expected a dense tensor, got a {kind} one; save it as a dense one")
    if tensor.is_floating_point() != target.is_floating_point():
        raise CheckpointError(
            f"{where}: expected {target.dtype}, got {tensor.dtype}; save it as {target.dtype}"
        )
    converted = tensor.detach().to(target.dtype)
    _check_finite(converted, where)
    return converted


def _check_finite(tensor: Tensor, where: str) -> None:
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{where}: expected finite numbers, got nan or infinity; take other weights")


def _normalisation(tensors: dict[str, Tensor], target: dict[str, Tensor], channels: int) -> list[str]:
    """Names of mean and standard deviation of a layer in front of the network, or an empty list."""
    pairs = []
    for name in tensors:
        owner, leaf = name.rpartition(".")[::2]
        if leaf.startswith("running_") or not re.fullmatch(r"(\w*_)?(mean|mu)_?", leaf):
            continue
        for mean, std in (("mean", "std"), ("mu", "sigma"), ("mean", "sigma")):
            other = f"{owner}.{leaf.replace(mean, std)}".removeprefix(".")
            if other != name and other in tensors:
                pairs.append([name, other])
    fitting = [pair for pair in pairs if all(tensors[name].numel() in (1, channels) for name in pair)]
    inside = {name.rpartition(".")[2] for name in target}
    return fitting[0] if len(fitting) == 1 and fitting[0][0].rpartition(".")[2] not in inside else []


def _set_normalisation(
    net: Classifier, cfg: Net, path: Path, buffers: list[str], values: list[Tensor]
) -> str:
    """Set the file's normalisation unless the recipe names one; return a line for the log."""
    if not buffers:
        none = (
            "no normalisation in the file, images stay in [0, 1]; if training had one, set net.mean, net.std"
        )
        return _normalised(cfg, none)
    mean, std = (tuple(value.flatten().tolist()) for value in values)
    if not cfg.mean:
        try:
            Net(mean=mean, std=std)
        except ValueError as error:
            raise CheckpointError(
                f"{path}: {buffers[0]}, {buffers[1]}: {error}; set net.mean and net.std for images in [0, 1]"
            ) from error
        net.normalise.set(mean, std)
    means, stds = (", ".join(f"{number:.4g}" for number in numbers) for numbers in (mean, std))
    return _normalised(cfg, f"normalisation of the file's {buffers[0]} ({means}) and {buffers[1]} ({stds})")


def _normalised(cfg: Net, otherwise: str) -> str:
    """The line for the log that names the normalisation in use."""
    return f"normalisation of net.mean {list(cfg.mean)}, net.std {list(cfg.std)}" if cfg.mean else otherwise


def _table(path: Path, matched: Match, target: dict[str, Tensor]) -> list[str]:
    """One line when the names are the network's, else one per layer."""
    head = f"{path.name}: {len(matched.names)} tensors matched by {matched.how}"
    if matched.how == "name":
        return [head]
    layers: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name in (name for name in target if name in matched.names):
        source = matched.names[name].rpartition(".")[0]
        layers.setdefault(name.rpartition(".")[0], (source, tuple(target[name].shape)))
    width = max(len(source) for source, _ in layers.values())
    return [head, *(f"  {source:<{width}} -> {layer} {shape}" for layer, (source, shape) in layers.items())]
