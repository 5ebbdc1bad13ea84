"""VGG-16 with batch norm in its CIFAR form."""

from torch import Tensor, nn


class VGG16(nn.Module):
    """VGG-16 with batch norm and one linear layer, for images of 32×32 or more; the usual ``width`` is 64."""

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
