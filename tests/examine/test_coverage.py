"""Every kind of network in docs/NETWORKS.md: examined without a fault, pruned right, reloaded, exported."""

import pytest
import torch

from eed_edge.prune.channels.equality import with_random_weights
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.channels.slicing import sliced
from eed_edge.train.data.batches import as_float
from tests.examine.coverage import NETWORKS
from tests.examine.subjects import (
    RECIPE,
    REMOVALS,
    WIDTH,
    built,
    examine,
    few,
    masked_by_hand,
    random_removal,
)

PRUNED = {
    "plain": {"conv1", "conv2", "fc1"},
    "bottleneck": {"1.0.reduce.0", "1.0.conv.0", "1.1.reduce.0", "1.1.conv.0", "1.1.expand.0", "2.0"},
    "resnext": {"1.expand.0", "2.0"},
    "mobilenet_v2": {"1.body.3", "1.body.7", "2.0"},
    "mobilenet_v3": {"1.body.6.squeeze", "1.body.6.excite", "1.body.7", "2.0"},
    "efficientnet": {"1.body.6.squeeze", "1.body.6.excite", "1.body.7", "2.0"},
    "densenet": {"0.0", "1.layers.0.2", "1.layers.1.2", "1.layers.2.2", "1.transition.0", "2.0"},
    "inception": {
        "0.0", "1.one.0", "1.three.0.0", "1.three.1.0", "1.five.0.0", "1.five.1.0", "1.pool.0", "1.join.0",
        "2.0",
    },
    "convnext": {"1.expand", "2.0"},
    "group_norm": {"1.conv2", "2.0"},
    "instance_norm": {"1.conv1", "1.conv2", "2.0"},
    "prelu": {"1.0.conv1", "1.1.conv1", "1.1.conv2", "2.0"},
    "transposed": {"0.0", "1.down.0", "1.up", "1.after.0", "2.0"},
    "grouped": {"0.0", "2.0"},
    "shufflenet": {"1.branch.1", "2.0"},
    "vit": {"blocks.0.mlp.0", "blocks.1.mlp.0"},
}  # fmt: skip
"""The roots of the groups that are pruned; everything else stays."""


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def test_it_is_examined_without_a_fault_and_pruned_equals_masked(name, monkeypatch):
    net = built(NETWORKS[name], monkeypatch, width=WIDTH)
    examination = examine(net, few(), RECIPE)  # reload and ONNX against torch are inside
    assert examination.faults == ()
    structure = examination.dry.structure
    assert {group.root.removeprefix("body.") for group in structure.groups} == PRUNED[name]
    trial = with_random_weights(net, seed=7).double()
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for seed in range(REMOVALS):
        removed = random_removal(structure, seed)
        small = sliced(trial, structure.groups, removed).eval()
        expected = masked_by_hand(trial, structure, removed, images)
        with torch.no_grad():
            assert (small(images) - expected).abs().max() <= 1e-6 * expected.abs().max(), seed
    ratios = {group.root: 1 - len(removed[group.root]) / group.channels for group in structure.groups}
    assert structure.cost(ratios) == pytest.approx(count_cost(small, images[:1]), rel=1e-9)
    assert structure.cost(dict.fromkeys(ratios, 1.0)) == count_cost(net, as_float(few().images[:1]))
