"""The small run's networks beside its bundle, with a threshold at which half of the images stop early."""

import math

import numpy as np
import pytest
import torch

import eed_edge
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.outcome import Outcome
from eed_edge.train.data import splits
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow
from tests.evaluate.quick_suite import attacked


@pytest.fixture(scope="session")
def images_of_test(flow: Flow) -> Images:
    test = splits.splits_for_recipe(open_run(flow.run).recipe, None).test
    return Images(torch.from_numpy(test.images[:80].copy()), torch.from_numpy(test.labels[:80].copy()))


@pytest.fixture(scope="session")
def images_and_labels(images_of_test: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """60 test images as the networks take them, float32 in [0, 1], and their labels."""
    return as_float(images_of_test.images[:60]), images_of_test.labels[:60]


@pytest.fixture(scope="session")
def models(flow: Flow, images_of_test: Images) -> ModelsCompared:
    run = open_run(flow.run)
    sure = eed_edge.load(flow.bundle).member_probs(images_of_test.images.numpy() / np.float32(255))[0].max(1)
    deployed = eed_edge.load(
        flow.bundle, rule="confidence", threshold=float(np.median(sure)), deadline_ms=math.inf
    )
    return ModelsCompared({"dense": run.base()}, run.ensemble(), deployed)


@pytest.fixture(scope="session")
def attacked_outcomes(models, images_and_labels, tmp_path_factory) -> dict[str, Outcome]:
    """What every job of the suite quick leaves on these images at a radius of 0.1."""
    return attacked(models, *images_and_labels, tmp_path_factory.mktemp("attacked"), eps=0.1)[1]
