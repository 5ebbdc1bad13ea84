"""The networks: ResNet-18 and VGG-16 with batch norm in their CIFAR form, or a user's own.

Every network starts with its normalisation, so images are in [0, 1] everywhere and eps means
the same in training, in the ONNX file and on the device.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from eed_edge.errors import NetworkError


@runtime_checkable
class Removable(Protocol):
    """A module with a branch that pruning may remove whole; users' blocks may have it, too.

    inner: name of the layer inside the module whose outputs nothing but the branch uses.
    """

    inner: str

    def remove_branch(self) -> None:
        """Take the branch and its parameters away, in place."""


class Normalise(nn.Module):
    """``(image - mean) / std`` per channel; both are stored with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take these numbers, one for all channels or one for each."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values, dtype=buffer.dtype).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """Normalisation, then the network proper: images in [0, 1] ``(n, c, h, w)`` to logits ``(n, k)``.

    ``architecture`` holds the arguments of ``build`` that made it, for its checkpoints.
    """

    def __init__(self, body: nn.Module, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        self.normalise = Normalise(architecture["channels"])
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(self.normalise(images))
        return logits


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., CVPR 2016, fig. 2).

    Pruning may take the whole branch of convolutions away (``Removable``); the shortcut stays.
    """

    inner = "conv1"

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        if self.conv1 is None:
            shortened: Tensor = self.relu2(self.shortcut(features))
            return shortened
        out = self.relu1(self.bn1(self.conv1(features)))
        joined: Tensor = self.relu2(self.bn2(self.conv2(out)) + self.shortcut(features))
        return joined

    def remove_branch(self) -> None:
        """Take the convolutions away; what the shortcut gives goes on alone."""
        for name in ("conv1", "bn1", "relu1", "conv2", "bn2"):
            setattr(self, name, None)


class ResNet18(nn.Module):
    """ResNet-18 for small pictures: a 3×3 stem without pooling; ``width`` 64 is the usual one."""

    def __init__(self, *, classes: int, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = [width, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
        strides = [1, 1, 2, 1, 2, 1, 2, 1]
        self.blocks = nn.Sequential(
            *(BasicBlock(widths[i], widths[i + 1], stride) for i, stride in enumerate(strides))
        )
        self.classify = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.stem(images))
        logits: Tensor = self.classify(features.mean((2, 3)))
        return logits


class VGG16(nn.Module):
    """VGG-16 with batch norm and one linear layer, for pictures of at least 32×32; usual width 64."""

    def __init__(self, *, classes: int, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for factors in ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)):
            for factor in factors:
                outputs = factor * width
                layers += [
                    nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classify = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.features(images).mean((2, 3)))
        return logits


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"resnet18": ResNet18, "vgg16": VGG16}


def build_network(arch: str, *, classes: int, channels: int, width: int, seed: int = 0) -> Classifier:
    """A network with fresh weights.

    Args:
        arch: a name of ``ARCHITECTURES``, or ``package.module:function`` with the signature
            ``function(*, classes, channels, width) -> nn.Module`` that maps ``(n, c, h, w)`` to
            logits ``(n, classes)``.
        width: channels of the first stage.
        seed: of the initial weights; torch's global generator is left as it was.

    Raises:
        NetworkError: no such architecture, or the function fails.
    """
    make = ARCHITECTURES.get(arch) or _imported(arch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            body = make(classes=classes, channels=channels, width=width)
        except Exception as error:
            raise NetworkError(
                f"net.arch {arch!r} failed to build a network: {error}; mend the function"
            ) from error
    if not isinstance(body, nn.Module):
        raise NetworkError(f"net.arch {arch!r}: expected a torch.nn.Module, got {type(body).__name__}")
    return Classifier(body, {"arch": arch, "classes": classes, "channels": channels, "width": width})


def check_logits(net: nn.Module, images: Tensor, classes: int) -> None:
    """Run ``net`` once in evaluation mode and look at what comes out.

    Raises:
        NetworkError: it fails on images of this shape, or gives something other than ``(n, classes)``.
    """
    net.eval()
    expected = (len(images), classes)
    try:
        with torch.no_grad():
            logits = net(images)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"the network fails on images {tuple(images.shape)}: {reason}; change data.size or net.arch"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise NetworkError(
            f"the network must give logits {expected} for images {tuple(images.shape)}, got {got}"
        )


def _imported(arch: str) -> Callable[..., nn.Module]:
    module_name, _, function_name = arch.partition(":")
    if not function_name:
        raise NetworkError(
            f"net.arch: expected one of {sorted(ARCHITECTURES)} or package.module:function, got {arch!r}"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        make = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever a user's module raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(f"net.arch {arch!r} cannot be imported: {reason}; check the path") from error
    if not callable(make):
        raise NetworkError(f"net.arch {arch!r}: expected a function, got {type(make).__name__}")
    return make  # type: ignore[no-any-return]


def resize_to(net: nn.Module, shapes: dict[str, Sequence[int]]) -> None:
    """Resize the layers of ``net`` in place to stored tensor shapes, as pruning left them.

    A branch of which nothing is stored is removed.

    Args:
        shapes: parameter or buffer name to shape.

    Raises:
        NetworkError: a name or a number of dimensions that ``net`` does not have.
    """
    for name, module in net.named_modules():
        if isinstance(module, Removable) and f"{name}.{module.inner}.weight" not in shapes:
            module.remove_branch()
    own = net.state_dict()
    if own.keys() != shapes.keys():
        odd = sorted(own.keys() ^ shapes.keys())[0]
        raise NetworkError(
            f"the stored weights and the network differ at {odd!r}; use the recipe they were trained with"
        )
    for name, tensor in own.items():
        if tensor.dim() != len(shapes[name]):
            raise NetworkError(f"{name}: expected {tensor.dim()} dimensions, got {len(shapes[name])}")
        if tuple(tensor.shape) != tuple(shapes[name]):
            owner, _, attribute = name.rpartition(".")
            _resize(net.get_submodule(owner), attribute, tuple(shapes[name]))


def _resize(module: nn.Module, attribute: str, shape: tuple[int, ...]) -> None:
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(torch.empty(shape)))
    else:
        setattr(module, attribute, torch.empty(shape))
    if attribute != "weight":
        return
    if isinstance(module, nn.Conv2d):
        if module.groups > 1 and shape[1] == 1:  # depthwise: one group a channel
            module.groups = module.in_channels = shape[0]
        else:
            module.in_channels = shape[1] * module.groups
        module.out_channels = shape[0]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = shape
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = shape[0]
