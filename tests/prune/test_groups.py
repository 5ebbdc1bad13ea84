"""Networks that cannot be traced, or have nothing to prune, are refused in one line."""

import pytest
import torch
from torch import Tensor, nn

from eed_edge.errors import NetworkError
from eed_edge.prune.groups import analyse
from tests.prune.search_subjects import IMAGE


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("not today")


def test_a_network_that_cannot_be_traced_is_told_in_one_line():
    with pytest.raises(NetworkError, match=r"cannot trace the network \(RuntimeError: not today\)"):
        analyse(Untraceable(), IMAGE[:1])


def test_a_network_without_prunable_channels_is_told():
    with pytest.raises(NetworkError, match="no channels to prune; expected plain"):
        analyse(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(1, 3, 2, 2))
