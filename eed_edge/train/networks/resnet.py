"""ResNet-18 with batch norm, with the stem for small pictures or with that for ImageNet."""

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., CVPR 2016, fig. 2).

    Pruning may remove the branch of convolutions (``Removable``); the shortcut stays.
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
        """Remove the convolutions; the shortcut remains."""
        for name in ("conv1", "bn1", "relu1", "conv2", "bn2"):
            setattr(self, name, None)


class ResNet18(nn.Module):
    """ResNet-18 for small images: a 3×3 stem without pooling; the usual ``width`` is 64."""

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


class ResNet18ImageNet(ResNet18):
    """ResNet-18 for pictures of 96 pixels or more: a 7×7 stem of stride 2 and a pooling of stride 2."""

    def __init__(self, *, classes: int, channels: int, width: int) -> None:
        super().__init__(classes=classes, channels=channels, width=width)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
