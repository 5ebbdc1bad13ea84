"""Removal: the smaller network answers as the masked one, and the cost model counts what is left."""

import copy

import pytest
import torch
from torch import nn

from eed_edge.prune import removal, widths
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.groups import analyse
from eed_edge.prune.widths import Budget
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build, checkpoint
from tests.prune.search_subjects import IMAGE, network, random_choice

ARCHITECTURES = ["resnet18", "vgg16"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_cost_model_equals_a_real_count_before_and_after_pruning(arch):
    net = network(arch)
    structure = analyse(net, IMAGE[:1])
    assert structure.cost({g.root: 1.0 for g in structure.groups}) == count_cost(net, IMAGE[:1])
    new_widths = {g.root: max(3, g.channels // (i % 4 + 1)) for i, g in enumerate(structure.groups)}
    small = removal.remove_channels(net, structure, random_choice(structure), new_widths)
    ratios = {g.root: new_widths[g.root] / g.channels for g in structure.groups}
    assert structure.cost(ratios) == pytest.approx(count_cost(small, IMAGE[:1]), rel=1e-9)


def test_macs_of_resnet18_are_those_of_the_literature():
    net = build.build_network("resnet18", classes=10, channels=3, width=64)
    assert count_cost(net, IMAGE[:1])[1] / 1e6 == pytest.approx(555.4, abs=1.5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_pruned_network_answers_as_the_network_with_these_channels_masked(arch):
    net = network(arch)
    structure = analyse(net, IMAGE[:1])
    choice = random_choice(structure)
    new_widths = {g.root: g.channels // 2 for g in structure.groups}
    masks = {
        root: (score >= score.sort(descending=True).values[new_widths[root] - 1]).float()
        for root, score in choice.scores.items()
    }
    with torch.no_grad():
        with masked(net, structure.groups, masks):
            expected = net(IMAGE)
        pruned = removal.remove_channels(net, structure, choice, new_widths).eval()(IMAGE)
    torch.testing.assert_close(pruned, expected, rtol=1e-4, atol=1e-5)


def test_pruning_leaves_the_base_unchanged():
    net = network("resnet18")
    before = copy.deepcopy(net.state_dict())
    structure = analyse(net, IMAGE[:1])
    removal.remove_channels(net, structure, random_choice(structure), {g.root: 8 for g in structure.groups})
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_branch_whose_share_rounds_to_nothing_goes_as_a_whole_and_the_rest_answers_as_by_hand(tmp_path):
    net = network("resnet18")
    structure = analyse(net, IMAGE[:1])
    ratios = {
        g.root: 0.1 if g.branch in ("body.blocks.1", "body.blocks.4") else 1.0 for g in structure.groups
    }
    without = structure.cost({root: float(share == 1) for root, share in ratios.items()})
    new_widths = widths.choose_widths(structure, ratios, Budget(*without), round_to=16, branches=True)
    gone = {root for root, width in new_widths.items() if not width}
    assert gone == {"body.blocks.1.conv1", "body.blocks.4.conv1"}
    small = removal.remove_channels(net, structure, random_choice(structure), new_widths).eval()

    features = net.body.stem(net.normalise(IMAGE))
    for i, block in enumerate(net.body.blocks):
        features = block.shortcut(features).relu() if i in (1, 4) else block(features)
    torch.testing.assert_close(small(IMAGE), net.body.classify(features.mean((2, 3))))

    params, macs = count_cost(small, IMAGE[:1])
    assert (params, macs) == (
        sum(p.numel() for p in small.parameters()),
        structure.cost(_shares(new_widths))[1],
    )
    assert structure.cost(_shares(new_widths))[0] - params == 2 * (16 + 64)  # the norms at the branches' ends
    checkpoint.save_network(tmp_path / "small.safetensors", small, {})
    again, _ = checkpoint.load_network(tmp_path / "small.safetensors")
    torch.testing.assert_close(again.eval()(IMAGE), small(IMAGE))


def _shares(new_widths):
    channels = {g.root: g.channels for g in analyse(network("resnet18"), IMAGE[:1]).groups}
    return {root: width / channels[root] for root, width in new_widths.items()}


def test_recalibration_gives_the_statistics_of_the_images():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    removal.recalibrate(net, Images(images, torch.zeros(64)), batch=16)
    features = net[0](images.float() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(net[1].running_mean, features.mean(1).detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net[1].running_var, features.var(1).detach(), rtol=0.05, atol=1e-3)
    assert net[1].momentum == 0.1
