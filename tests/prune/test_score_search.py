"""The search for channel scores: what it finds, its target cost, and its checkpoints."""

import copy
import os
import signal

import pytest
import torch
from torch import nn

from eed_edge.errors import CheckpointError
from eed_edge.prune import score_search
from eed_edge.prune.groups import analyse
from eed_edge.prune.score_search import ChannelScores
from eed_edge.recipe import Data, Pool, Prune, Recipe, Scores
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import checkpoint
from eed_edge.train.system.interruption import Interrupted, handled
from tests.prune.search_subjects import IMAGE, network, random_choice


def search(net, structure, train: Images, start: ChannelScores, rest=None, **changes) -> ChannelScores:
    recipe = Recipe(
        scores=Scores(**{"epochs": 6, "lr": 0.05, "phi": 2.0, **changes}),
        pool=Pool(batch=16, eps_255=8.0),
        prune=Prune(member_share=0.2),
    )
    context = TrainingContext(augment=Data(flip=False, crop=0), **(rest or {}))
    return score_search.search_scores(net, structure, start, train, recipe=recipe, context=context)


def toy() -> tuple[nn.Module, Images]:
    """Class 0 is bright above, 1 bright below; only channels 0 and 1 of eight carry that."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2)).eval()
    net[0].weight.data.zero_()
    net[0].weight.data[:2, 0, 1, 1] = 1.0
    net[0].bias.data.zero_()
    weight = torch.zeros(2, 8, 4, 4)
    weight[0, :2, :2], weight[1, :2, 2:] = 1.0, 1.0
    net[3].weight.data = weight.flatten(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (64, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label : 2 * label + 2] += 150
    return net, Images(images, labels)


def test_the_search_finds_the_channels_that_matter_from_scores_that_are_wrong():
    net, train = toy()
    structure = analyse(net, torch.rand(1, 1, 4, 4))
    (group,) = structure.groups
    wrong = torch.arange(1, 9) / 8  # the useful channels 0 and 1 come last
    learned = search(net, structure, train, ChannelScores({group.root: wrong}, {group.root: 0.45}), epochs=30)
    gain = (learned.scores[group.root] - wrong).tolist()
    assert min(gain[:2]) > max(gain[2:])


@pytest.fixture(scope="module")
def coloured():
    """Structure of a ResNet-18, training images, and where its search begins."""
    train, structure = toy()[1], analyse(network("resnet18", 8), torch.rand(1, 3, 4, 4))
    colour = Images(train.images.expand(-1, 3, -1, -1).contiguous(), train.labels)
    generator = torch.Generator().manual_seed(0)
    scored = {
        group.root: score_search.ranks(torch.rand(group.channels, generator=generator))
        for group in structure.groups
    }
    return structure, colour, ChannelScores(scored, dict.fromkeys(scored, 0.45))


@pytest.fixture(scope="module")
def unbroken(coloured) -> ChannelScores:
    torch.manual_seed(0)
    return search(network("resnet18", 8), *coloured, epochs=3)


@pytest.mark.parametrize("stopped_after", [1, 3, 4, 5, 11])
def test_a_search_that_was_interrupted_ends_bitwise_as_an_unbroken_one(
    tmp_path, coloured, unbroken, stopped_after
):
    seen = []

    def stop(row):
        seen.append((row["epoch"], row["batch"]))
        if len(seen) == stopped_after:
            os.kill(os.getpid(), signal.SIGTERM)

    state = tmp_path / "search"
    torch.manual_seed(0)
    with pytest.raises(Interrupted), handled():
        search(network("resnet18", 8), *coloured, {"state": state, "callbacks": (stop,)}, epochs=3)
    torch.manual_seed(0)
    rest = {"state": state, "callbacks": (seen.append,)}
    resumed = search(network("resnet18", 8), *coloured, rest, epochs=3)
    assert len(seen) == 3 * 4  # no batch twice
    assert resumed.keep_ratio == unbroken.keep_ratio
    for root, score in unbroken.scores.items():
        assert torch.equal(resumed.scores[root], score)


def test_a_search_checkpoint_of_another_network_is_refused(tmp_path):
    net, train = toy()
    structure = analyse(net, torch.rand(1, 1, 4, 4))
    (group,) = structure.groups
    checkpoint.save_checkpoint(tmp_path / "search", {"scores/other": torch.ones(8)}, {})
    start = ChannelScores({group.root: torch.arange(1, 9) / 8}, {group.root: 0.45})
    with pytest.raises(CheckpointError, match=r"search: it does not fit the network; delete it"):
        search(net, structure, train, start, {"state": tmp_path / "search"})


def test_the_search_does_not_fall_through_the_target_on_a_deep_network():
    net = network("resnet18", 8)
    structure = analyse(net, IMAGE[:1])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (512, 3, 32, 32), generator=generator, dtype=torch.uint8)
    train = Images(images, torch.arange(512) % 4)
    start = random_choice(structure)
    choice = ChannelScores(
        {root: score_search.ranks(score) for root, score in start.scores.items()},
        {g.root: 0.2**0.5 for g in structure.groups},
    )
    learned = search(net, structure, train, choice, epochs=2)
    full_cost = structure.cost({g.root: 1.0 for g in structure.groups})
    used = max(now / all_ for now, all_ in zip(structure.cost(learned.keep_ratio), full_cost, strict=True))
    assert 0.15 < used < 0.3


def test_the_search_brings_the_cost_to_the_target_and_touches_no_weight():
    net, train = toy()
    weights = copy.deepcopy(net.state_dict())
    structure = analyse(net, torch.rand(1, 1, 4, 4))
    (group,) = structure.groups
    start = ChannelScores(
        {group.root: torch.rand(8, generator=torch.Generator().manual_seed(1))}, {group.root: 0.9}
    )
    one, again = (search(net, structure, train, start, epochs=30) for _ in range(2))
    assert one.keep_ratio[group.root] <= 0.25 < start.keep_ratio[group.root]
    assert torch.equal(one.scores[group.root], again.scores[group.root])
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_ranks_replace_scores_by_their_order():
    assert score_search.ranks(torch.tensor([5.0, -1.0, 100.0, 5.0])).tolist() == [0.5, 0.25, 1.0, 0.75]
