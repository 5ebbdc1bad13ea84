"""The pool's data subsets are those of the paper; what cannot be pruned is told before training."""

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.errors import NetworkError
from eed_edge.prune.candidates import candidates, subset_indices
from eed_edge.prune.dry_run import check_prunable
from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import SCORES
from eed_edge.recipe import Pool, Recipe, from_dict
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build
from eed_edge.train.networks.build import Classifier


def subsets(score: int, n: int = 1000) -> list[set[int]]:
    of_score = candidates(Recipe())[3 * score : 3 * score + 3]
    return [set(subset_indices(n, c, cfg=Pool(), seed=7).tolist()) for c in of_score]


def test_there_are_twelve_candidates_of_four_scores_and_three_subsets():
    entries = candidates(Recipe())
    assert len({candidate.name for candidate in entries}) == 12
    assert {candidate.score for candidate in entries} == {"nis", "erm", "ase", "bnsf"}


def test_a_quarter_is_shared_and_the_rest_is_split_over_three():
    parts = subsets(0)
    shared = set.intersection(*parts)
    assert len(shared) == 250
    assert [len(part) for part in parts] == [500, 500, 500]
    assert set.union(*parts) == set(range(1000))
    assert parts[0] & parts[1] == shared


def test_with_shared_by_all_one_quarter_is_in_the_subsets_of_every_score():
    entries = candidates(Recipe())
    parts = [set(subset_indices(1000, c, cfg=Pool(shared_by="all"), seed=7).tolist()) for c in entries]
    assert len(set.intersection(*parts)) == 250
    assert set.union(*parts[:3]) == set(range(1000))
    assert parts[3:6] == parts[:3]


def test_subsets_are_shuffled_anew_for_each_score():
    first, second = subsets(0), subsets(1)
    overlap = len(set.intersection(*first) & set.intersection(*second))
    assert 30 < overlap < 100  # 62.5 expected of two independent quarters
    assert not any(np.array_equal(sorted(a), sorted(b)) for a in first for b in second)


def fails(net: nn.Module, message: str, **prune: float) -> None:
    wrapped = Classifier(net, {"arch": "resnet18", "classes": 4, "channels": 3, "width": 16})
    few = Images(torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8), torch.tensor([0, 1]))
    recipe = from_dict({"prune": {"member_share": 0.3, "sparsity": 0.3, **prune}})
    with pytest.raises(NetworkError, match=message) as caught:
        check_prunable(wrapped, few, recipe)
    assert "\n" not in str(caught.value)


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=4)
        self.out = nn.Linear(32, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(self.b(self.a(images)).mean((2, 3)))


def test_a_network_that_cannot_be_pruned_is_told_before_training():
    fails(Grouped(), "cannot be pruned|cannot trace|no channels|do not answer|differ at")


def test_a_budget_that_no_two_members_meet_is_told_before_training():
    net = build.build_network("resnet18", classes=4, channels=3, width=32).body
    fails(net, "two members of .* do not fit into a team", member_share=0.9, sparsity=0.5)


def test_nis_of_a_deep_network_stays_finite_and_ranked():
    layers = [layer for _ in range(40) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(3, 32, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))
    for parameter in net.parameters():
        parameter.data.mul_(5)
    images = torch.rand(2, 3, 8, 8)
    structure = analyse(net, images[:1])
    importance = SCORES["nis"](net, structure, images, torch.tensor([0, 1]))
    first = importance(structure.groups[-1])
    assert torch.isfinite(first).all()
    assert first.max() > 3e38  # float32 would have lost it
    assert len(first.unique()) == 32
