"""Networks of timm: built by name, examined, pruned and reloaded; skipped where timm is not installed."""

import importlib.util

import pytest
import torch

from eed_edge import recipe
from eed_edge.errors import NetworkError
from eed_edge.examine import examine
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import build

INSTALLED = importlib.util.find_spec("timm") is not None
NAMES = (
    "mobilenetv3_small_100", "resnet18", "efficientnet_b0", "convnext_atto", "regnety_002", "ghostnet_050",
    "repvgg_a0",
)  # fmt: skip
RECIPE = recipe.from_dict({"prune": {"member_share": 0.45, "sparsity": 0.05}})


@pytest.fixture(scope="module")
def operators():
    """What timm's import needs of torchvision, whose wheels do not fit every build of torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.mark.skipif(INSTALLED, reason="timm is installed")
def test_without_timm_the_message_says_what_to_install():
    with pytest.raises(NetworkError, match=r"timm cannot be imported: .* pip install '\.\[timm\]'"):
        build.build_network("timm:resnet10t", classes=4, channels=1, width=8)


@pytest.mark.skipif(not INSTALLED, reason="timm is not installed")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_a_network_of_timm_is_examined_without_a_fault(name, operators):
    net = build.build_network(f"timm:{name}", classes=4, channels=1, width=8)
    few = Images(torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8), torch.arange(3))
    build.choose_memory_format(net, as_float(few.images))
    examination = examine(net, few, RECIPE)
    assert examination.faults == ()
    assert len(examination.dry.structure.groups) > 3


@pytest.mark.skipif(not INSTALLED, reason="timm is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_name_that_timm_does_not_know_is_refused(operators):
    with pytest.raises(NetworkError, match=r"expected a network of timm\.list_models"):
        build.build_network("timm:resnet19x", classes=4, channels=1, width=8)
