"""The gate that brings a team to a mean time, and what counts as right behind it."""

import dataclasses

import pytest
import torch
from torch import nn

from eed_edge import recipe as recipes
from eed_edge.evaluate.metrics.shape_accuracy import prefix_times, shape_accuracy
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.ensemble import Ensemble
from tests.conftest import TINY

CLEAN = recipes.load_recipe(str(TINY), [f"{stage}.attack=none" for stage in ("base", "pool", "joint")])
ATTACKED = recipes.load_recipe(str(TINY))


class Table(nn.Module):
    """Logits of two classes by the first pixel: ``slope * (pixel - edge)`` for class 1."""

    def __init__(self, slope: float, edge: float) -> None:
        super().__init__()
        self.slope, self.edge = slope, edge

    def forward(self, images):
        logit = self.slope * (images[:, 0, 0, 0] - self.edge)
        return torch.stack([-logit, logit], 1)


def pixels(values):
    images = torch.zeros(len(values), 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(values, dtype=torch.uint8)
    return images


TUNE = Images(pixels([0, 90, 160, 255]), torch.tensor([0, 1, 1, 1]))
TEAM = Ensemble(
    [Table(3, 0.5), Table(30, 0.2)]
)  # the first is unsure of the two in the middle, and once wrong


def judged(recipe, mean_ms):
    return shape_accuracy(TEAM, TUNE, recipe, ms=(1.0, 3.0), mean_ms=mean_ms, size=(10, 20))


@pytest.mark.parametrize(
    ("mean_ms", "used", "clean"), [(0.5, 1, 0.75), (1.0, 1, 0.75), (2.0, 1.5, 1.0), (3.0, 2, 1.0)]
)
def test_the_threshold_spends_the_time_that_there_is(mean_ms, used, clean):
    shape = judged(CLEAN, mean_ms)
    assert (shape.submodels_used, shape.clean, shape.attacked) == (used, clean, None)
    assert shape.mean_ms == 1 + 2 * (used - 1)
    assert shape.judged == shape.clean


def test_under_attack_an_image_must_be_right_on_every_version():
    recipe = dataclasses.replace(ATTACKED, base=dataclasses.replace(ATTACKED.base, eps_255=45))
    shape = judged(dataclasses.replace(recipe, joint=dataclasses.replace(recipe.joint, judge_steps=20)), 3.0)
    assert shape.clean == 1
    assert shape.attacked == 0.75  # 90 can be moved below the edge of both members, the others cannot
    assert shape.judged == shape.attacked


def test_every_prefix_is_timed():
    times = prefix_times([Ensemble([nn.Sequential(nn.Flatten(), nn.Linear(4, 2))])] * 2, TUNE)
    assert [len(each) for each in times] == [1, 1]
    assert min(min(each) for each in times) > 0
