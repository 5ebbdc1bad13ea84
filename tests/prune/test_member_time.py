"""Time as a budget: a table of multiply-accumulates must predict what the cost model counts by itself."""

import pytest
import torch

from eed_edge.errors import NetworkError, RecipeError
from eed_edge.latency.latency_table import LayerTimes, write_latency_table
from eed_edge.prune import score_search
from eed_edge.prune.dry_run import check_prunable
from eed_edge.prune.groups import analyse
from eed_edge.prune.member_time import TimeBudget, architecture_digest, predicted_ms, time_budget
from eed_edge.prune.widths import Budget, choose_widths
from eed_edge.recipe import Prune, from_dict
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build
from tests.examine.coverage import densenet, inception, mobilenet_v2
from tests.latency.test_latency_table import TABLE

SIZE = (3, 16, 16)
NO_LIMIT = Budget(float("inf"), float("inf"))


def structure_of(make=None):
    torch.manual_seed(0)
    net = build.build_network("resnet18", classes=4, channels=3, width=16) if make is None else make()
    return analyse(net.eval(), torch.rand(1, *SIZE))


def mega_macs(structure):
    """A table whose times are the layers' millions of multiply-accumulates: bilinear in the widths."""
    layers = tuple(
        LayerTimes(name=layer.name, inputs=(1000,), outputs=(1000,), ms=((layer.macs / 1e6,),))
        for layer in structure.layers
        if layer.macs
    )
    return TABLE.__class__(**{**vars(TABLE), "layers": layers})


@pytest.mark.parametrize("make", [None, densenet, inception, mobilenet_v2])
def test_a_table_of_macs_predicts_the_macs_of_any_widths_for_networks_of_every_kind(make):
    build_it = None if make is None else (lambda: make(classes=4, channels=3, width=16))
    structure = structure_of(build_it)
    ratios = {group.root: 0.25 + 0.5 * (i % 2) for i, group in enumerate(structure.groups)}
    assert predicted_ms(structure, mega_macs(structure), ratios) == pytest.approx(
        structure.cost(ratios)[1] / 1e6
    )


STRUCTURE = structure_of()
FULL = {group.root: group.channels for group in STRUCTURE.groups}
EVENLY = dict.fromkeys(FULL, 0.5)
FULL_MS = STRUCTURE.cost(dict.fromkeys(FULL, 1.0))[1] / 1e6


def test_widths_use_up_the_time_and_do_not_exceed_it():
    time = TimeBudget(STRUCTURE, mega_macs(STRUCTURE), 0.3 * FULL_MS)
    selected = choose_widths(STRUCTURE, EVENLY, NO_LIMIT, round_to=8, time=time)
    assert time.of_widths(selected) <= time.most_ms
    for root, width in selected.items():  # nothing more would have fitted
        assert width == FULL[root] or time.of_widths({**selected, root: width + 8}) > time.most_ms


def test_the_channels_of_a_layer_that_is_slow_for_its_macs_cost_more():
    table = mega_macs(STRUCTURE)
    slow, like = (f"body.blocks.{i}.conv1" for i in (0, 1))
    layers = tuple(
        LayerTimes(**{**vars(layer), "ms": ((20 * layer.ms[0][0],),)}) if layer.name == slow else layer
        for layer in table.layers
    )
    slowed = TABLE.__class__(**{**vars(table), "layers": layers})
    ratios = {root: torch.tensor(0.5, requires_grad=True) for root in FULL}
    TimeBudget(STRUCTURE, slowed, 1.0).ms(ratios).backward()
    assert float(ratios[slow].grad) > 5 * float(ratios[like].grad)


def test_the_search_is_drawn_to_whichever_target_is_exceeded_most():
    scores = {root: torch.linspace(0, 1, channels) for root, channels in FULL.items()}
    thresholds = {root: torch.tensor(0.5, requires_grad=True) for root in FULL}
    full_cost = STRUCTURE.cost(dict.fromkeys(FULL, 1.0))
    time = TimeBudget(STRUCTURE, mega_macs(STRUCTURE), 0.01 * FULL_MS)
    arguments = (STRUCTURE, scores, thresholds, full_cost)
    without = score_search._cost_penalty(*arguments, member_share=1.0)
    within = score_search._cost_penalty(*arguments, member_share=1.0, time=time)
    assert within > 10 * without
    within.backward()
    assert all(float(threshold.grad) <= 0 for threshold in thresholds.values())  # a step raises them


def test_a_time_that_no_widths_can_keep_is_refused_with_the_least_that_they_take():
    time = TimeBudget(STRUCTURE, mega_macs(STRUCTURE), 1e-6)
    with pytest.raises(NetworkError, match=r"may take 1e-06 ms, but with the smallest widths it takes"):
        choose_widths(STRUCTURE, EVENLY, NO_LIMIT, round_to=8, time=time)


def test_a_share_is_of_the_base_by_the_table_and_another_network_s_table_is_refused(tmp_path):
    path, digest = tmp_path / "table.json", architecture_digest(STRUCTURE, SIZE)
    write_latency_table(path, TABLE.__class__(**{**vars(mega_macs(STRUCTURE)), "architecture": digest}))
    cfg = Prune(latency_table=str(path), latency_share=0.25)
    assert time_budget(STRUCTURE, SIZE, cfg).most_ms == pytest.approx(0.25 * FULL_MS)
    assert time_budget(STRUCTURE, SIZE, Prune(latency_table=str(path), latency_ms=3.0)).most_ms == 3
    assert time_budget(STRUCTURE, SIZE, Prune()) is None
    with pytest.raises(RecipeError, match=r"expected times of this network and images of \(3, 32, 32\)"):
        time_budget(STRUCTURE, (3, 32, 32), cfg)


@pytest.mark.parametrize(
    "prune",
    [
        {"latency_ms": 1.0},
        {"latency_table": "t.json"},
        {"latency_table": "t.json", "latency_ms": 1.0, "latency_share": 0.5},
    ],
)
def test_a_table_goes_with_one_target_of_time(prune):
    with pytest.raises(RecipeError, match="latency_table, latency_ms, latency_share: the first with one"):
        from_dict({"prune": prune})


def test_members_by_time_that_are_too_large_for_a_team_are_refused_before_training(tmp_path):
    path, digest = tmp_path / "table.json", architecture_digest(STRUCTURE, SIZE)
    write_latency_table(path, TABLE.__class__(**{**vars(mega_macs(STRUCTURE)), "architecture": digest}))
    prune = {"latency_table": str(path), "latency_share": 0.9, "member_share": 1.0, "sparsity": 0.01}
    recipe = from_dict({"prune": prune, "scores": {"names": ["erm"]}})
    torch.manual_seed(0)
    net = build.build_network("resnet18", classes=4, channels=3, width=16)
    few = Images(torch.randint(0, 256, (2, *SIZE), dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(
        NetworkError, match=r"two members of 0.* do not fit into a team of .*; lower prune.latency_ms or"
    ):
        check_prunable(net, few, recipe)
