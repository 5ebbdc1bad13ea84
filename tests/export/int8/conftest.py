"""A small convolutional network as a float ONNX file, and images for it."""

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.export.network_graph import to_onnx


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.last = nn.Linear(16, 5)

    def forward(self, images):
        images = self.first(images).relu()
        images = self.second(images).relu() + images
        return self.last(self.third(images).relu().mean((2, 3)))


@pytest.fixture(scope="session")
def small():
    """``(network, float ONNX bytes, images (200, 1, 8, 8))``."""
    net = Small().eval()
    images = np.random.default_rng(0).random((200, 1, 8, 8), np.float32)
    return net, to_onnx(net, torch.from_numpy(images[:1])), images
