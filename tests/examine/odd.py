"""Networks that are odd in one way each, as users write them; images are 8×8 with one channel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.examine import uncommon
from tests.examine.coverage import between, conv_norm
from tests.examine.recurrent import LstmBlock


class SharedLayer(nn.Module):
    """One layer under two names, called twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = self.first
        self.after = conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.relu(self.second(F.relu(self.first(x)))))


class SharedWeight(nn.Module):
    """Two layers with one weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.second.weight = self.first.weight
        self.inner = conv_norm(width, 2 * width)
        self.outer = conv_norm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(F.relu(self.second(F.relu(self.first(x))))))


class ChannelShuffleModule(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.shuffle, self.after = (
            conv_norm(width, width),
            nn.ChannelShuffle(4),
            conv_norm(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shuffle(self.before(x)))


class PixelShuffleBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(width, 4 * width, 3, padding=1), conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.avg_pool2d(F.pixel_shuffle(self.before(x), 2), 2))


class GluBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(width, 2 * width, 3, padding=1), conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.glu(self.before(x), 1))


class SplitBlock(nn.Module):
    """Splits by fixed sizes, by chunk and by slices."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = conv_norm(width, width)
        self.left, self.right = conv_norm(width // 4, width // 2), conv_norm(3 * width // 4, width // 2)
        self.even = conv_norm(width // 2, width)
        self.tail = conv_norm(width // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        quarter = x.shape[1] // 4
        small, large = torch.split(self.before(x), [quarter, 3 * quarter], 1)
        x = torch.cat([self.left(small), self.right(large)], 1)
        x = self.even(x[:, ::2])
        return self.tail(x[:, : x.shape[1] // 2])


class EinsumBlock(nn.Module):
    """A linear layer written as einsum with a bare parameter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.mix = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.einsum("nchw,dc->ndhw", self.before(x), self.mix))


class TorchAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return (mixed + self.mlp(mixed)).transpose(1, 2).reshape(x.shape)


class TwoConcatenations(nn.Module):
    """Concatenations that share a tensor, in other orders."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (conv_norm(width, width // 2) for _ in range(3))
        self.left, self.right = conv_norm(width, width), conv_norm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.a(x), self.b(x), self.c(x)
        return self.left(torch.cat([b, a], 1)) + self.right(torch.cat([a, c, a, b], 1))


class WeightNormBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.utils.parametrizations.weight_norm(nn.Conv2d(width, width, 3, padding=1))
        self.after = nn.utils.parametrizations.spectral_norm(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.after(F.relu(self.before(x))))


class InPlaceBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.conv1(x))
        out = self.conv2(out)
        out += x
        return self.act(out)


class CustomLayerNorm(nn.Module):
    """A norm over channels that no library knows, and one without parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.gain * (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-5).sqrt()
        return F.relu(F.normalize(self.conv2(x), dim=1))


class DepthMultiplier(nn.Module):
    """A strided depthwise convolution with two outputs a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(2 * width, width)
        self.depthwise = nn.Conv2d(width, 2 * width, 3, 2, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.relu(self.depthwise(self.before(x))))


class ListOfParameters(nn.Module):
    """Shifts from a ParameterList and a table in a buffer, one for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(width, width, 3, padding=1, bias=False), conv_norm(width, width)
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(width, 1, 1)) for _ in range(2)])
        self.register_buffer("table", torch.linspace(0.5, 1.5, width).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for shift in self.shifts:
            x = F.relu(x + shift)
        return self.after(x * self.table)


class SigmoidBetween(nn.Module):
    """Channels that are 0.5 where they are masked, and a constant added to others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.after = conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.b(torch.sigmoid(self.a(x))) + 1.0)


class ChannelStatistics(nn.Module):
    """Attention over channels by means and maxima, and a softmax over channels (ECA, CBAM)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.along = nn.Conv1d(1, 1, 3, padding=1)
        self.spatial = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        x = x * torch.sigmoid(self.along(x.mean((2, 3))[:, None])).transpose(1, 2)[..., None]
        x = x * torch.sigmoid(self.spatial(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        return self.after(x)


class FunctionalConvolution(nn.Module):
    """A convolution by hand, with a weight that is a bare parameter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.weight = nn.Parameter(torch.randn(width, width, 3, 3) / (9 * width) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.conv2d(self.before(x), self.weight, padding=1))


class Unused(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.used, self.unused = conv_norm(width, width), nn.Conv2d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class ReshapedHead(nn.Module):
    """A linear layer whose outputs become an image again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width * 16, width), nn.Linear(width, width * 16)
        self.after = conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        flat = F.relu(self.down(x.flatten(1)))
        return self.after(F.interpolate(self.up(flat).view(x.shape), scale_factor=2))


class RepeatedBlock(nn.Module):
    """One block in a loop, a frozen layer, and channels taken in another order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.frozen = conv_norm(width, width)
        self.frozen.requires_grad_(False)
        self.inner, self.outer = conv_norm(width, 2 * width), conv_norm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + self.block(x)
        x = self.frozen(x.flip(1))
        return self.outer(self.inner(x).roll(1, 1))


BLOCKS = {
    block.__name__: block
    for block in (
        SharedLayer, SharedWeight, ChannelShuffleModule, PixelShuffleBlock, GluBlock, SplitBlock, EinsumBlock,
        TorchAttention, TwoConcatenations, WeightNormBlock, LstmBlock, InPlaceBlock,
        CustomLayerNorm, DepthMultiplier, ListOfParameters, SigmoidBetween, ChannelStatistics,
        FunctionalConvolution, Unused, ReshapedHead, RepeatedBlock,
    )
} | uncommon.BLOCKS  # fmt: skip


def build(name: str, *, classes: int = 4, channels: int = 1, width: int = 32) -> nn.Module:
    """The block between a stem and a head."""
    return between(BLOCKS[name](width), classes=classes, channels=channels, width=width)
