"""Exported graphs answer as torch does, for any batch, and say nothing of where they were made."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from eed_edge.errors import ExportError
from eed_edge.export.network_graph import OPSET, to_onnx
from eed_edge.runtime.bundle.admit import admit
from eed_edge.train.networks import build


@pytest.fixture(scope="module")
def net() -> nn.Module:
    made = build.build_network("vgg16", classes=4, channels=3, width=4).eval()
    made.normalise.mean.fill_(0.4)
    return made


@pytest.fixture(scope="module")
def model(net: nn.Module) -> bytes:
    return to_onnx(net, torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_file_answers_as_torch_for_any_batch(net, model, batch):
    images = torch.rand(batch, 3, 32, 32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, net(images).numpy(), atol=1e-4)


def test_the_file_has_the_pinned_opset_and_no_traces_of_its_making(model):
    proto = onnx.load_from_string(model)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    assert not proto.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert b".py" not in model


def test_the_same_weights_give_the_same_bytes(net, model):
    assert to_onnx(net, torch.rand(1, 3, 32, 32)) == model


class Fixed(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, -1)[:, :4]


class Broken(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


@pytest.mark.parametrize("network", [Fixed(), Broken()], ids=["fixed batch", "data-dependent"])
def test_a_network_that_cannot_be_exported_is_told_in_one_line(network):
    with pytest.raises(ExportError) as caught:
        to_onnx(network, torch.rand(1, 3, 4, 4))
    assert "\n" not in str(caught.value)


class TakenApart(nn.Module):
    """Operations whose ONNX operators no bundle may have."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.recurrent = nn.Parameter(torch.rand(4, 4)), nn.GRU(4, 3, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        shuffled = nn.functional.pixel_shuffle(torch.einsum("nchw,dc->ndhw", images, self.mix), 2)
        return self.recurrent(shuffled.flatten(2)[:, 0].view(images.shape[0], 4, 4))[0][:, -1]


@pytest.mark.parametrize("batch", [1, 3])
def test_operators_that_no_bundle_may_have_are_taken_apart(batch):
    net, images = TakenApart().eval(), torch.rand(batch, 4, 2, 2)
    model = admit(to_onnx(net, images[:1]), "network")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    np.testing.assert_allclose(logits, net(images).detach().numpy(), atol=1e-6)


def test_an_operation_that_onnx_lacks_is_named():
    net = nn.Sequential(nn.Flatten(), nn.RReLU(), nn.Linear(4, 3)).train()
    net[1].forward = lambda x: nn.functional.rrelu(x, training=True)
    with pytest.raises(ExportError, match=r"cannot export the network to ONNX: .*rrelu.*; use plain modules"):
        to_onnx(net, torch.rand(1, 1, 2, 2))
