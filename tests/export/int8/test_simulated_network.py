"""The torch copy of a quantised file answers as it does, with the gradient of the float network."""

from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from eed_edge.errors import ExportError
from eed_edge.export.int8.quantise import quantise
from eed_edge.export.int8.simulated_network import SimulatedNetwork
from eed_edge.export.network_graph import to_onnx


@pytest.fixture(scope="module")
def made(small):
    return quantise(small[1], small[2])


def test_the_copy_answers_as_onnxruntime_but_for_a_step_of_the_quantiser(small, made):
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"images": small[2]})[0]
    with torch.no_grad():
        actual = SimulatedNetwork(made, "x")(torch.from_numpy(small[2])).numpy()
        float32 = small[0](torch.from_numpy(small[2])).numpy()
    assert np.median(np.abs(actual - expected)) < 0.1 * np.median(np.abs(float32 - expected))
    np.testing.assert_array_equal(actual.argmax(1), expected.argmax(1))


def test_the_gradient_of_the_copy_points_where_that_of_the_float_network_does(small, made):
    gradients = []
    for net in (small[0], SimulatedNetwork(made, "x")):
        images = torch.from_numpy(small[2][:50]).requires_grad_()
        gradients.append(torch.autograd.grad(net(images)[:, 0].sum(), images)[0].flatten())
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.95


def test_a_copy_of_the_float_file_is_the_network(small):
    net, model, images = small
    with torch.no_grad():
        torch.testing.assert_close(
            SimulatedNetwork(model, "x")(torch.from_numpy(images)),
            net(torch.from_numpy(images)),
            atol=1e-5,
            rtol=1e-5,
        )


def test_weights_are_dequantised_once_and_move_with_the_network(made):
    copy = SimulatedNetwork(made, "x")
    assert sum(step.described == "DequantizeLinear" for step in copy.steps) == sum(
        step.described == "QuantizeLinear" for step in copy.steps
    )
    assert {buffer.device.type for buffer in copy.to("meta").buffers()} == {"meta"}


def test_an_operator_without_a_copy_is_named():
    node = helper.make_node("Cosh", ["images"], ["logits"])
    values = [helper.make_tensor_value_info(name, 1, ["N", 2]) for name in ("images", "logits")]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))
    with pytest.raises(ExportError, match=r"submodel-3.onnx: .* operators, not 'Cosh'; use other layers"):
        SimulatedNetwork(model.SerializeToString(), "submodel-3.onnx")


def test_an_attribute_without_a_copy_is_told_when_it_is_met(small):
    model = onnx.load_from_string(small[1])
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    convolution.attribute.append(helper.make_attribute("auto_pad", "SAME_LOWER"))
    attributes = [
        each for each in convolution.attribute if each.name != "auto_pad" or each.s == b"SAME_LOWER"
    ]
    del convolution.attribute[:]
    convolution.attribute.extend(attributes)
    with pytest.raises(
        ExportError, match="x: a copy in torch, for attacks, cannot compute Conv: auto_pad SAME_LOWER"
    ):
        SimulatedNetwork(model.SerializeToString(), "x")(torch.zeros(1, 1, 8, 8))


def of_layers(activation, norm):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        norm(16),
        activation,
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=4),
        activation,
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 16),
        activation,
        nn.Linear(16, 5),
    ).eval()


@pytest.mark.parametrize(
    ("activation", "norm"),
    [
        (nn.SiLU(), partial(nn.GroupNorm, 4)),
        (nn.PReLU(), nn.InstanceNorm2d),
    ],
    ids=["SiLU and GroupNorm", "PReLU and InstanceNorm"],
)
def test_networks_of_other_layers_are_quantised_and_copied(small, activation, norm):
    net, images = of_layers(activation, norm), small[2]
    made = quantise(to_onnx(net, torch.from_numpy(images[:1])), images)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"images": images})[0]
    with torch.no_grad():
        actual = SimulatedNetwork(made, "x")(torch.from_numpy(images)).numpy()
        float32 = net(torch.from_numpy(images)).numpy()
    assert np.abs(expected - float32).max() < 0.1 * np.ptp(float32)
    assert np.abs(actual - expected).max() < 0.5 * np.abs(expected - float32).max() + 1e-6
