"""Odd networks whose layers are stored or computed in uncommon ways; ``odd.BLOCKS`` has them, too."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.examine.coverage import conv_norm


class FrozenNorm(nn.Module):
    """Batch norm as detectors freeze it: all four of its tensors are buffers."""

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(width, width, 3, padding=1, bias=False), conv_norm(width, width)
        self.register_buffer("weight", torch.linspace(0.5, 1.5, width))
        self.register_buffer("bias", torch.linspace(-0.5, 0.5, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x) * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return self.after(F.relu(x))


class PlainTensorKernel(nn.Module):
    """Blurs with a kernel that is neither parameter nor buffer, so that it stays in single precision."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.kernel = torch.full((width, 1, 3, 3), 1 / 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.conv2d(self.before(x), self.kernel, padding=1, groups=len(self.kernel)))


class Bfloat16Between(nn.Module):
    """Computes in bfloat16 in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.before(x).to(torch.bfloat16).float())


class DeepConvolution(nn.Module):
    """A convolution over the channels as a third dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deep, self.after = nn.Conv3d(1, 2, 3, padding=1), conv_norm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.deep(x[:, None]).flatten(1, 2))


class SpectralFilter(nn.Module):
    """A filter of complex numbers, which cannot lie channels last in memory."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.filter, self.after = nn.Parameter(torch.rand(width, 8, 5, 2)), conv_norm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x) * torch.view_as_complex(self.filter)
        return self.after(torch.fft.irfft2(spectrum, s=x.shape[-2:]))


BLOCKS = {
    block.__name__: block
    for block in (FrozenNorm, PlainTensorKernel, Bfloat16Between, DeepConvolution, SpectralFilter)
}
