"""A network whose weights are saved, changed and loaded."""

import pytest
from torch import nn

from tests.train.networks.usual_resnet import UsualResNet18, shaken


@pytest.fixture
def usual() -> nn.Module:
    return shaken(UsualResNet18())
