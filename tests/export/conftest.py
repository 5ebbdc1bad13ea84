"""The networks of `cascade_models`, exported once."""

import numpy as np
import pytest
import torch

from eed_edge.export.network_graph import to_onnx
from eed_edge.train.networks import build
from tests.export.cascade_models import CLASSES, IMAGES, MEMBERS, run


@pytest.fixture(scope="session")
def models() -> list[bytes]:
    """ONNX files of members that are sure of some images and not of others."""
    made = []
    for seed in range(MEMBERS):
        net = build.build_network("resnet18", classes=CLASSES, channels=3, width=4, seed=seed)
        net.body.classify.weight.data.mul_(80)
        with torch.no_grad():
            for _ in range(20):
                net.train()(torch.from_numpy(IMAGES))
            net.body.classify.bias.data -= net.eval()(torch.from_numpy(IMAGES)).mean(0)
        made.append(to_onnx(net.eval(), torch.from_numpy(IMAGES[:1])))
    return made


@pytest.fixture(scope="session")
def probs(models) -> np.ndarray:
    """Their probabilities of `IMAGES`, (sub-models, images, classes)."""
    logits = [run(model, IMAGES)[0] for model in models]
    powers = np.exp(np.stack(logits))
    return (powers / powers.sum(2, keepdims=True)).astype(np.float32)
