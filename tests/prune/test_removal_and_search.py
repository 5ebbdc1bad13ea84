"""Pruning: the smaller network answers as the masked one, meets its budget, and keeps round widths."""

import copy
import os
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eed_edge.errors import CheckpointError, NetworkError
from eed_edge.prune import removal, score_search, widths
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.groups import analyse
from eed_edge.prune.score_search import ChannelScores
from eed_edge.prune.widths import Budget
from eed_edge.recipe import Data, Pool, Prune, Recipe, Scores
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.system.interruption import Interrupted, handled

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ARCHITECTURES = ["resnet18", "vgg16"]


def network(arch: str, width: int = 16) -> nn.Module:
    """With batch-norm values as after training, so that wrong channels show."""
    net = build.build_network(arch, classes=4, channels=3, width=width, seed=2)
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
    return net.eval()


def random_choice(structure, seed: int = 0) -> ChannelScores:
    generator = torch.Generator().manual_seed(seed)
    return ChannelScores(
        {g.root: torch.rand(g.channels, generator=generator) for g in structure.groups},
        {g.root: 0.5 for g in structure.groups},
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_cost_model_equals_a_real_count_before_and_after_pruning(arch):
    net = network(arch)
    structure = analyse(net, IMAGE[:1])
    assert structure.cost({g.root: 1.0 for g in structure.groups}) == count_cost(net, IMAGE[:1])
    chosen = {g.root: max(3, g.channels // (i % 4 + 1)) for i, g in enumerate(structure.groups)}
    small = removal.remove_channels(net, structure, random_choice(structure), chosen)
    kept = {g.root: chosen[g.root] / g.channels for g in structure.groups}
    assert structure.cost(kept) == pytest.approx(count_cost(small, IMAGE[:1]), rel=1e-9)


def test_macs_of_resnet18_are_those_of_the_literature():
    net = build.build_network("resnet18", classes=10, channels=3, width=64)
    assert count_cost(net, IMAGE[:1])[1] / 1e6 == pytest.approx(555.4, abs=1.5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_pruned_network_answers_as_the_network_with_these_channels_masked(arch):
    net = network(arch)
    structure = analyse(net, IMAGE[:1])
    choice = random_choice(structure)
    chosen = {g.root: g.channels // 2 for g in structure.groups}
    masks = {
        root: (score >= score.sort(descending=True).values[chosen[root] - 1]).float()
        for root, score in choice.scores.items()
    }
    with torch.no_grad():
        with masked(net, structure.groups, masks):
            expected = net(IMAGE)
        pruned = removal.remove_channels(net, structure, choice, chosen).eval()(IMAGE)
    torch.testing.assert_close(pruned, expected, rtol=1e-4, atol=1e-5)


def test_pruning_leaves_the_base_unchanged():
    net = network("resnet18")
    before = copy.deepcopy(net.state_dict())
    structure = analyse(net, IMAGE[:1])
    removal.remove_channels(net, structure, random_choice(structure), {g.root: 8 for g in structure.groups})
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


STRUCTURE = analyse(network("resnet18", 32), IMAGE[:1])
WHOLE = STRUCTURE.cost({g.root: 1.0 for g in STRUCTURE.groups})


@settings(max_examples=60, deadline=None)
@given(
    shares=st.lists(st.floats(0.02, 1), min_size=len(STRUCTURE.groups), max_size=len(STRUCTURE.groups)),
    budget=st.floats(0.08, 1),
)
def test_widths_are_multiples_of_eight_and_use_the_budget_without_exceeding_it(shares, budget):
    kept = {g.root: share for g, share in zip(STRUCTURE.groups, shares, strict=True)}
    limit = Budget(budget * WHOLE[0], budget * WHOLE[1])
    chosen = widths.choose_widths(STRUCTURE, kept, limit, round_to=8)
    whole = {g.root: g.channels for g in STRUCTURE.groups}
    assert all(width % 8 == 0 and 8 <= width <= whole[root] for root, width in chosen.items())

    def cost(widths):
        return STRUCTURE.cost({root: width / whole[root] for root, width in widths.items()})

    assert all(c <= b + 1 for c, b in zip(cost(chosen), limit, strict=True))
    for root in chosen:  # nothing more would have fitted
        if chosen[root] + 8 <= whole[root]:
            more = cost({**chosen, root: chosen[root] + 8})
            assert any(c > b for c, b in zip(more, limit, strict=True))


def test_a_branch_whose_share_rounds_to_nothing_goes_as_a_whole_and_the_rest_answers_as_by_hand(tmp_path):
    net = network("resnet18")
    structure = analyse(net, IMAGE[:1])
    kept = {g.root: 0.1 if g.branch in ("body.blocks.1", "body.blocks.4") else 1.0 for g in structure.groups}
    without = structure.cost({root: float(share == 1) for root, share in kept.items()})
    chosen = widths.choose_widths(structure, kept, Budget(*without), round_to=16, branches=True)
    gone = {root for root, width in chosen.items() if not width}
    assert gone == {"body.blocks.1.conv1", "body.blocks.4.conv1"}
    small = removal.remove_channels(net, structure, random_choice(structure), chosen).eval()

    features = net.body.stem(net.normalise(IMAGE))
    for i, block in enumerate(net.body.blocks):
        features = block.shortcut(features).relu() if i in (1, 4) else block(features)
    torch.testing.assert_close(small(IMAGE), net.body.classify(features.mean((2, 3))))

    params, macs = count_cost(small, IMAGE[:1])
    assert (params, macs) == (sum(p.numel() for p in small.parameters()), structure.cost(_shares(chosen))[1])
    assert structure.cost(_shares(chosen))[0] - params == 2 * (16 + 64)  # the norms at the branches' ends
    checkpoint.save_network(tmp_path / "small.safetensors", small, {})
    again, _ = checkpoint.load_network(tmp_path / "small.safetensors")
    torch.testing.assert_close(again.eval()(IMAGE), small(IMAGE))


def test_branches_stay_unless_they_may_go_and_only_branches_may():
    structure = analyse(network("resnet18"), IMAGE[:1])
    kept = {g.root: 0.1 for g in structure.groups}
    whole = structure.cost({g.root: 1.0 for g in structure.groups})
    limit = Budget(0.25 * whole[0], 0.25 * whole[1])
    stay = widths.choose_widths(structure, kept, limit, round_to=8)
    may = widths.choose_widths(structure, kept, limit, round_to=16, branches=True)
    assert all(width >= 8 for width in stay.values())
    assert 0 in may.values()
    assert all(width % 16 == 0 for width in may.values())
    assert all(may[g.root] for g in structure.groups if not g.branch)
    with pytest.raises(NetworkError, match="removable branch"):
        removal.remove_channels(network("resnet18"), structure, random_choice(structure), {"body.stem.0": 0})


def _shares(chosen):
    channels = {g.root: g.channels for g in analyse(network("resnet18"), IMAGE[:1]).groups}
    return {root: width / channels[root] for root, width in chosen.items()}


def test_a_base_whose_widths_are_no_multiples_of_eight_keeps_whole_or_rounds_and_says_so(caplog):
    caplog.set_level("INFO")
    structure = analyse(network("resnet18", 12), IMAGE[:1])
    whole = structure.cost({g.root: 1.0 for g in structure.groups})
    chosen = widths.choose_widths(
        structure, {g.root: 0.5 for g in structure.groups}, Budget(0.5 * whole[0], 0.5 * whole[1]), round_to=8
    )
    channels = {g.root: g.channels for g in structure.groups}
    assert all(width % 8 == 0 or width == channels[root] for root, width in chosen.items())
    assert "12 channels are no multiple of 8" in caplog.text


def test_a_budget_below_the_smallest_widths_is_refused():
    with pytest.raises(NetworkError, match=r"with the smallest widths it has .* raise prune.member_share"):
        widths.choose_widths(STRUCTURE, {g.root: 0.5 for g in STRUCTURE.groups}, Budget(1e4, 1e4), round_to=8)


def test_recalibration_gives_the_statistics_of_the_images():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    removal.recalibrate(net, Images(images, torch.zeros(64)), batch=16)
    features = net[0](images.float() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(net[1].running_mean, features.mean(1).detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net[1].running_var, features.var(1).detach(), rtol=0.05, atol=1e-3)
    assert net[1].momentum == 0.1


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
    found = search(net, structure, train, ChannelScores({group.root: wrong}, {group.root: 0.45}), epochs=30)
    gain = (found.scores[group.root] - wrong).tolist()
    assert min(gain[:2]) > max(gain[2:])


@pytest.mark.parametrize("stopped_after", [1, 3, 4, 5, 11])
def test_a_search_that_was_interrupted_ends_bitwise_as_an_unbroken_one(tmp_path, stopped_after):
    def begin():
        net, train = network("resnet18", 8), toy()[1]
        colour = Images(train.images.expand(-1, 3, -1, -1).contiguous(), train.labels)
        structure = analyse(net, torch.rand(1, 3, 4, 4))
        scored = {group.root: score_search.ranks(torch.rand(group.channels)) for group in structure.groups}
        return net, structure, colour, ChannelScores(scored, dict.fromkeys(scored, 0.45))

    torch.manual_seed(0)
    unbroken = search(*begin(), epochs=3)
    seen = []

    def stop(row):
        seen.append((row["epoch"], row["batch"]))
        if len(seen) == stopped_after:
            os.kill(os.getpid(), signal.SIGTERM)

    state = tmp_path / "search"
    torch.manual_seed(0)
    with pytest.raises(Interrupted), handled():
        search(*begin(), {"state": state, "callbacks": (stop,)}, epochs=3)
    torch.manual_seed(0)
    resumed = search(*begin(), {"state": state, "callbacks": (seen.append,)}, epochs=3)
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
    found = search(net, structure, train, choice, epochs=2)
    whole = structure.cost({g.root: 1.0 for g in structure.groups})
    used = max(now / all_ for now, all_ in zip(structure.cost(found.keep_ratio), whole, strict=True))
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
