"""One small network for each kind that docs/NETWORKS.md lists, all built as a user would write them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.examine.vision_transformer import ViT


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PlainCNN(nn.Module):
    """Flattens with view, then two linear layers; for images of 8×8."""

    def __init__(self, *, classes: int, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(2 * width * 4, 4 * width)
        self.fc2 = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))


class Bottleneck(nn.Module):
    """ResNet's, and with groups ResNeXt's."""

    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        self.reduce, self.conv = (
            conv_norm(4 * width, 2 * width, 1),
            conv_norm(2 * width, 2 * width, groups=groups),
        )
        self.expand = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.expand(self.conv(self.reduce(x))))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, 16, 1), nn.Conv2d(16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(scale)


class InvertedResidual(nn.Module):
    """MobileNetV2's; with squeeze-excite and another activation V3's and EfficientNet's."""

    def __init__(self, width: int, act: type[nn.Module] = nn.ReLU6, excite: bool = False) -> None:
        super().__init__()
        inner = 3 * width
        self.body = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), act(),
            nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), act(),
            SqueezeExcite(inner) if excite else nn.Identity(),
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class DenseBlock(nn.Module):
    """Norm, activation and convolution, whose output is concatenated to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width * (i + 1)),
                nn.ReLU(),
                nn.Conv2d(width * (i + 1), width, 3, padding=1, bias=False),
            )
            for i in range(3)
        )
        self.transition = conv_norm(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.transition(x)


class InceptionBlock(nn.Module):
    """Four branches of other kernels, concatenated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.pool = conv_norm(width, 16, 1), conv_norm(width, 16, 1)
        self.three = nn.Sequential(conv_norm(width, 16, 1), conv_norm(16, 24))
        self.five = nn.Sequential(conv_norm(width, 16, 1), conv_norm(16, 16, 5))
        self.join = conv_norm(72, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1))
        return self.join(torch.cat([self.one(x), self.three(x), self.five(x), pooled], 1))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then layer norm, two linear layers and a layer scale, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.scale * self.project(F.gelu(self.expand(inner)))
        return x + inner.permute(0, 3, 1, 2)


class NormBlock(nn.Module):
    """Two convolutions with a norm of the caller's in a residual branch."""

    def __init__(self, width: int, norm: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.conv1, self.norm, self.act = nn.Conv2d(width, 2 * width, 3, padding=1), norm, act
        self.conv2 = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act(self.norm(self.conv1(x))))


class TransposedBlock(nn.Module):
    """Down by a strided convolution, up by a transposed one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = conv_norm(width, 2 * width, stride=2)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.after = conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.relu(self.up(self.down(x))))


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's: half of the channels go through a branch, then both halves are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv_norm(half, width, 1), nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.BatchNorm2d(width), conv_norm(width, half, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        stay, go = x.chunk(2, 1)
        joined = torch.cat([stay, self.branch(go)], 1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def between(block: nn.Module, *, classes: int, channels: int, width: int) -> nn.Module:
    """A stem, the block and a head; the block has ``width`` channels before and behind it."""
    return nn.Sequential(
        conv_norm(channels, width), block, conv_norm(width, 2 * width, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes),
    )  # fmt: skip


def bottleneck(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(
        nn.Sequential(Bottleneck(width // 4), Bottleneck(width // 4)),
        classes=classes,
        channels=channels,
        width=width,
    )


def resnext(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(Bottleneck(width // 4, groups=4), classes=classes, channels=channels, width=width)


def mobilenet_v2(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(InvertedResidual(width), classes=classes, channels=channels, width=width)


def mobilenet_v3(*, classes: int, channels: int, width: int) -> nn.Module:
    block = InvertedResidual(width, nn.Hardswish, excite=True)
    return between(block, classes=classes, channels=channels, width=width)


def efficientnet(*, classes: int, channels: int, width: int) -> nn.Module:
    block = InvertedResidual(width, nn.SiLU, excite=True)
    return between(block, classes=classes, channels=channels, width=width)


def densenet(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(DenseBlock(width), classes=classes, channels=channels, width=width)


def inception(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(InceptionBlock(width), classes=classes, channels=channels, width=width)


def convnext(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(ConvNeXtBlock(width), classes=classes, channels=channels, width=width)


def group_norm(*, classes: int, channels: int, width: int) -> nn.Module:
    block = NormBlock(width, nn.GroupNorm(4, 2 * width), nn.ReLU())
    return between(block, classes=classes, channels=channels, width=width)


def instance_norm(*, classes: int, channels: int, width: int) -> nn.Module:
    block = NormBlock(width, nn.InstanceNorm2d(2 * width, affine=True), nn.ReLU())
    return between(block, classes=classes, channels=channels, width=width)


def prelu(*, classes: int, channels: int, width: int) -> nn.Module:
    block = nn.Sequential(
        NormBlock(width, nn.BatchNorm2d(2 * width), nn.PReLU()),
        NormBlock(width, nn.Identity(), nn.PReLU(2 * width)),
    )
    return between(block, classes=classes, channels=channels, width=width)


def transposed(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(TransposedBlock(width), classes=classes, channels=channels, width=width)


def grouped(*, classes: int, channels: int, width: int) -> nn.Module:
    block = nn.Sequential(conv_norm(width, 2 * width), conv_norm(2 * width, width, groups=4))
    return between(block, classes=classes, channels=channels, width=width)


def shufflenet(*, classes: int, channels: int, width: int) -> nn.Module:
    return between(ShuffleUnit(width), classes=classes, channels=channels, width=width)


NETWORKS = {
    "plain": PlainCNN,
    "bottleneck": bottleneck,
    "resnext": resnext,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "densenet": densenet,
    "inception": inception,
    "convnext": convnext,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "prelu": prelu,
    "transposed": transposed,
    "grouped": grouped,
    "shufflenet": shufflenet,
    "vit": ViT,
}
"""Builders by name, each ``build(*, classes, channels, width)``; images are 8×8."""
