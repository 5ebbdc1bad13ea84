"""Networks to measure: each is a real one of its widths, and every node belongs to the layer it says."""

import re

import onnx
import pytest
import torch
from torch import nn

from eed_edge.errors import ExportError
from eed_edge.export.ladder_networks import write_ladder
from eed_edge.latency.ladder_index import read_index, read_network
from eed_edge.recipe import from_dict
from eed_edge.runtime.measure.layer_profile import profile_folder
from eed_edge.train.networks.build import Classifier


class Branched(nn.Module):
    """A residual sum, a depthwise convolution, and a linear layer on three dimensions, stored transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inner, self.back = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.mix, self.out = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = self.depthwise(x + self.back(torch.relu(self.inner(x))))
        return self.out(torch.relu(self.mix(x.flatten(2).transpose(1, 2))).mean(1))


RECIPE = from_dict({"prune": {"round_to": 8}})


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder") / "networks"
    net = Classifier(Branched(), {"arch": "branched", "classes": 4, "channels": 1, "width": 16})
    write_ladder(net, torch.rand(1, 1, 8, 8), folder, recipe=RECIPE, number=3, int8=True)
    return folder


def test_slots_are_the_layers_in_order_and_widths_go_from_full_to_smallest(ladder):
    index = read_index(ladder)
    names = [f"body.{name}" for name in ("stem", "inner", "back", "depthwise", "mix", "out")]
    assert [sorted(network.slots) for network in index.networks] == [sorted(names)] * 3
    full, least = (network.widths for network in index.networks[:2])
    assert full["body.inner"] == (16, 32)
    assert full["body.depthwise"] == (1, 16)
    assert least["body.inner"] == (8, 8)
    assert least["body.back"] == (8, 8)
    assert least["body.out"][1] == 4


def test_every_node_is_named_after_a_slot_and_a_residual_sum_goes_with_the_later_branch(ladder):
    network = read_index(ladder).networks[0]
    graph = onnx.load_from_string(read_network(ladder, network)).graph
    slot_of = {node.name: int(re.match(r"slot(\d+)_", node.name)[1]) for node in graph.node}
    sums = [node for node in graph.node if node.op_type == "Add"]
    assert network.slots[slot_of[sums[0].name]] == "body.back"
    assert {network.slots[slot] for slot in slot_of.values()} == {*network.slots}


def test_int8_networks_are_measured_layer_by_layer(ladder):
    table = profile_folder(ladder, rounds=1)
    assert table.precision == "int8"
    assert {layer.name for layer in table.layers} == {*read_index(ladder).networks[0].slots}
    assert all(layer.ms[-1][-1] > 0 for layer in table.layers)


def test_a_folder_of_something_else_stays(tmp_path):
    net = Classifier(Branched(), {"arch": "branched", "classes": 4, "channels": 1, "width": 16})
    for name in ("thesis.txt", "pi5.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ExportError, match=r"expected a new folder, got one with (pi5\.json|thesis\.txt)"):
            write_ladder(net, torch.rand(1, 1, 8, 8), tmp_path, recipe=RECIPE)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
        (tmp_path / "networks.json").write_text("{}")  # a table that was measured lies beside the networks
