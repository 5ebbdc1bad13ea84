"""ResNet-18 in the names of torchvision and of the CIFAR repositories."""

import torch
from torch import nn
from torch.nn import functional as F

from eed_edge.recipe import Net
from eed_edge.train.networks import (
    pretrained,
)

CFG = Net(width=8)


class Block(nn.Module):
    """As torchvision writes it, with the name of the shortcut to choose."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.aside = shortcut
        if stride != 1 or inputs != outputs:
            norm = nn.BatchNorm2d(outputs)
            setattr(self, shortcut, nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + getattr(self, self.aside, nn.Identity())(x))


class UsualResNet18(nn.Module):
    """ResNet-18 in its form for small pictures, in the names of torchvision or of the CIFAR repositories."""

    def __init__(self, *, width=8, classes=4, channels=3, stem=3, shortcut="downsample", last="fc") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, stem, 1, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for i in range(4):
            outputs = width * 2**i
            stride = 1 if i == 0 else 2
            blocks = (Block(inputs, outputs, stride, shortcut), Block(outputs, outputs, 1, shortcut))
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.last = last
        setattr(self, last, nn.Linear(inputs, classes))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return getattr(self, self.last)(F.adaptive_avg_pool2d(x, 1).flatten(1))


def shaken(net: nn.Module) -> nn.Module:
    """With statistics and weights that no two layers share, ready to answer."""
    torch.manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def load(path, cfg=CFG, *, classes=4, channels=3):
    return pretrained.load_pretrained(path, cfg, classes=classes, channels=channels)


def same(loaded: pretrained.Pretrained, expected: nn.Module, images=IMAGES) -> bool:
    with torch.no_grad():
        return torch.allclose(loaded.net(images), expected(images), atol=1e-5)


def prefixed(prefix):
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}
