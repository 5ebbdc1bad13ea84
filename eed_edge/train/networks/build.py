"""Build a network: ResNet-18, VGG-16, or a user's architecture, behind its normalisation.

Every network starts with its normalisation, so images are in [0, 1] everywhere and eps means the
same in training, in the ONNX file and on the device.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from eed_edge.errors import NetworkError, how_to_install
from eed_edge.suggestions import did_you_mean
from eed_edge.train.networks.entered_layers import entered_layers
from eed_edge.train.networks.network_objects import OBJECT_PREFIX, registered_network
from eed_edge.train.networks.resnet import ResNet18, ResNet18ImageNet
from eed_edge.train.networks.vgg import VGG16


class Normalise(nn.Module):
    """``(image - mean) / std`` per channel; both are stored with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set mean and standard deviation: one number for all channels, or one per channel."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values, dtype=buffer.dtype).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """Normalisation, then the network body: images in [0, 1] ``(n, c, h, w)`` to logits ``(n, k)``.

    ``architecture`` holds the arguments of ``build_network`` that made it, for its checkpoints;
    ``channels_last`` whether its weights and images lie in memory that way, see ``choose_memory_format``.
    """

    def __init__(self, body: nn.Module, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.normalise = Normalise(architecture["channels"])
        self.body = body
        self.channels_last = True

    def forward(self, images: Tensor) -> Tensor:
        if not self.channels_last:
            images = images.clone(memory_format=torch.contiguous_format)
        logits: Tensor = self.body(self.normalise(images))
        return logits


TIMM = "timm:"
"""What precedes the name of a network of the package timm."""
WRAPPERS = (torch.jit.ScriptModule, nn.DataParallel, nn.parallel.DistributedDataParallel)
"""Kinds of modules that keep the layers inside from being followed."""
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "resnet18": ResNet18,
    "resnet18-imagenet": ResNet18ImageNet,
    "vgg16": VGG16,
}


def build_network(arch: str, *, classes: int, channels: int, width: int, seed: int = 0) -> Classifier:
    """Build a network with initial weights.

    Args:
        arch: a name of ``ARCHITECTURES``, or ``package.module:function`` with the signature
            ``function(*, classes, channels, width) -> nn.Module`` that maps ``(n, c, h, w)`` to
            logits ``(n, classes)``, or ``timm:name``, or a name that ``register_network``
            returned.
        width: channels of the first stage; networks of timm have their own.
        seed: seed of the initial weights; torch's global generator is not changed.

    Raises:
        NetworkError: no such architecture, or the function fails.
    """
    make = ARCHITECTURES.get(arch) or _maker(arch)(arch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            body = make(classes=classes, channels=channels, width=width)
        except Exception as error:
            raise NetworkError(
                f"net.arch {arch!r} failed to build a network: {error}; fix the function"
            ) from error
    if not isinstance(body, nn.Module):
        raise NetworkError(f"net.arch {arch!r}: expected a torch.nn.Module, got {type(body).__name__}")
    _check_layers(body, arch)
    return Classifier(body, {"arch": arch, "classes": classes, "channels": channels, "width": width})


def _check_layers(body: nn.Module, arch: str) -> None:
    """Refuse layers that can be neither copied nor followed.

    Raises:
        NetworkError: there is one.
    """
    for name, module in body.named_modules():
        place = f"net.arch {arch!r}: {f'body.{name}'.rstrip('.')} is a {type(module).__name__}"
        if any(is_lazy(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            raise NetworkError(
                f"{place}, which has no weights yet; use the layer of that name without Lazy, with its number"
                " of inputs"
            )
        if isinstance(module, WRAPPERS) or hasattr(module, "_orig_mod"):  # torch.compile's
            raise NetworkError(f"{place}, whose layers cannot be followed; return the plain module inside")


def choose_memory_format(net: Classifier, images: Tensor) -> None:
    """Store weights and images channels last, unless the network fails on that, as ``view`` does."""
    arrange_memory(net)
    try:
        with torch.enable_grad():
            net.eval()(images.detach().requires_grad_(True)).sum().backward()
    except Exception:  # other faults show in the checks that follow
        net.channels_last = False
        arrange_memory(net)
    net.zero_grad(set_to_none=True)


def arrange_memory(net: nn.Module) -> None:
    """Put the weights of all classifiers in ``net`` into the memory format that each has chosen."""
    classifiers: list[nn.Module] = [module for module in net.modules() if isinstance(module, Classifier)]
    for part in classifiers or [net]:
        channels_last = getattr(part, "channels_last", True)
        for tensor in (*part.parameters(), *part.buffers()):
            if not channels_last:  # contiguous() would leave strides that only look channels last
                tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
            elif tensor.dim() == 4:
                tensor.data = tensor.data.to(memory_format=torch.channels_last)


def check_logits(net: nn.Module, images: Tensor, classes: int) -> None:
    """Run ``net`` once in evaluation mode and check the shape of its logits.

    Raises:
        NetworkError: it fails on images of this shape, or gives something other than ``(n, classes)``.
    """
    net.eval()
    expected = (len(images), classes)
    try:
        with torch.no_grad(), entered_layers(net) as entered:
            logits = net(images)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"{entered.layer}: the network fails on images {tuple(images.shape)}: {reason}; change data.size,"
            " or let net.arch build a network for images of this shape"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        remedy = "change its last layer" if isinstance(logits, Tensor) else "return the logits alone"
        raise NetworkError(
            f"the network must give logits {expected} for images {tuple(images.shape)}, got {got}; {remedy}"
        )
    if not torch.isfinite(logits).all():
        raise NetworkError("the network's logits are not finite numbers; check its weights and divisions")


def _maker(arch: str) -> Callable[[str], Callable[..., nn.Module]]:
    return (
        _from_timm
        if arch.startswith(TIMM)
        else registered_network
        if arch.startswith(OBJECT_PREFIX)
        else _imported
    )


def _from_timm(arch: str) -> Callable[..., nn.Module]:
    try:
        import timm
    except Exception as error:  # without torchvision's operators, timm's import fails in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"net.arch {arch!r}: timm cannot be imported: {reason};"
            f" with a torchvision that fits torch, {how_to_install('timm')}"
        ) from error
    name = arch.removeprefix(TIMM)
    if not timm.is_model(name):
        raise NetworkError(f"net.arch {arch!r}: expected a network of timm.list_models(), got {name!r}")

    def make(*, classes: int, channels: int, width: int) -> nn.Module:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
        return net

    return make


def _imported(arch: str) -> Callable[..., nn.Module]:
    module_name, _, function_name = arch.partition(":")
    if not function_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise NetworkError(
            f"net.arch: expected one of {', '.join(sorted(ARCHITECTURES))}, package.module:function or"
            f" timm:name, got {arch!r}{did_you_mean(arch, ARCHITECTURES)}"
        )
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        make = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # a user's module may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"net.arch {arch!r} cannot be imported: {reason}; run the command in the folder that has"
            f" {module_name.partition('.')[0]}, or name that folder in PYTHONPATH"
        ) from error
    if not callable(make):
        raise NetworkError(f"net.arch {arch!r}: expected a function, got {type(make).__name__}")
    return make  # type: ignore[no-any-return]
