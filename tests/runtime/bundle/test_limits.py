"""Limits are arguments of ``load``, and so is the check of golden answers."""

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import BundleError, InputError
from tests.runtime import tiny_onnx

BAD_ARGUMENTS = [
    ({"verify": "all"}, "expected verify 'files' or 'golden', got 'all'"),
    ({"verify": None}, "expected verify 'files' or 'golden', got None"),
    ({"limits": {"nodes": 5}}, r"expected limits, got .*; give eed_edge.Limits"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_arguments_of_another_kind_are_one_line(tiny, arguments, message):
    with pytest.raises(InputError, match=message):
        eed_edge.load(tiny.folder, **arguments)


@pytest.mark.parametrize("value", [0, -1, 1.5, "9", None, True])
def test_a_limit_is_a_whole_number(value):
    with pytest.raises(InputError, match="expected nodes, a whole number from 1 on"):
        eed_edge.Limits(nodes=value)


BEYOND = {
    "model_bytes": r"golden.npz: expected at most 100 bytes, got 5\.\d+e\+03",
    "bundle_bytes": "expected a bundle of at most 100 bytes",
    "weights": "submodel-0.onnx: expected at most 100 weights",
    "values": "submodel-0.onnx: expected at most 10 fields",
}


@pytest.mark.parametrize("limit", BEYOND)
def test_what_is_beyond_a_limit_of_load_is_refused(tiny, limit):
    with pytest.raises(BundleError, match=BEYOND[limit]):
        eed_edge.load(tiny.folder, limits=eed_edge.Limits(**{limit: 10 if limit == "values" else 100}))


def test_a_single_file_has_the_same_limits_and_no_golden_answers(tiny):
    path = tiny.folder / "submodel-0.onnx"
    with pytest.raises(BundleError, match=r"submodel-0.onnx: expected at most 100 bytes, got \d+"):
        eed_edge.load(path, limits=eed_edge.Limits(model_bytes=100))
    with pytest.raises(InputError, match="expected a bundle folder for verify='golden', got a single file"):
        eed_edge.load(path, verify="golden")


def test_golden_answers_are_compared_under_the_manifests_gate_whatever_the_callers(make_tiny):
    tiny = make_tiny()
    net = eed_edge.load(tiny.folder, verify="golden", rule="agreement", threshold=3, max_submodels=1)
    assert (net.rule, net.max_submodels) == ("agreement", 1)
    other = make_tiny(golden={"labels": np.roll(net(tiny.images).labels, 1)})
    eed_edge.load(other.folder)
    with pytest.raises(BundleError, match=r"golden.npz: \d+ of 20 answers differ"):
        eed_edge.load(other.folder, verify="golden")


def test_recorded_answers_of_the_dense_network_are_compared(make_tiny):
    weight, bias = np.eye(48, 3), np.zeros(3)
    dense = tiny_onnx.linear(weight, bias)
    logits = make_tiny().images.reshape(20, -1) @ weight
    probs = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    eed_edge.load(
        make_tiny(files={"dense.onnx": dense}, golden={"dense_probs": probs}).folder, verify="golden"
    )
    wrong = make_tiny(
        files={"dense.onnx": tiny_onnx.linear(weight, np.array([0.1, 0, 0]))}, golden={"dense_probs": probs}
    )
    with pytest.raises(
        BundleError, match=r"dense.onnx: expected the recorded probabilities, got some .* apart"
    ):
        eed_edge.load(wrong.folder, verify="golden")
