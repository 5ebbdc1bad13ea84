"""What is not allowed, not known before running or beyond a limit is refused in one line."""

import numpy as np
import pytest

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.limits import Limits
from tests.hostile.walk.models import floats, ints, model


def node(*parts, opset=18, **constants):
    return model(parts if len(parts) == 4 else (*parts, {}), opset=opset, **constants)


W = floats(8, 4, 3, 3)
REFUSED = {
    "an operator of another kind": (
        node("Einsum", "images", "x", {"equation": "abcd->"}),
        "got 'Einsum' in opset 18",
    ),
    "an older opset": (node("Relu", "images", "x", opset=17), "expected an opset from 18 to 21, got 17"),
    "a younger attribute": (
        node("Cast", "images", "x", {"to": 1, "saturate": 1}),
        "the attributes of Cast in ops",
    ),
    "an attribute of another type": (
        node("Elu", "images", "x", {"alpha": 1}),
        "Elu.alpha of type 1 alone, got 2",
    ),
    "an attribute out of range": (
        node("Conv", "images w", "x", {"strides": [0, 1]}, w=W),
        r"Conv.strides, up to",
    ),
    "a negative pad": (node("Conv", "images w", "x", {"pads": [-1, 0, 0, 0]}, w=W), "Conv.pads, up to 16"),
    "another kernel": (
        node("Conv", "images w", "x", {"kernel_shape": [5, 5]}, w=W),
        "kernel_shape of the weight",
    ),
    "a type of no network": (node("Cast", "images", "x", {"to": 10}), "a type out of 1, 2, 3, 6"),
    "half floats": (
        node("Add", "images h", "x", h=np.float16(1)),
        "a type out of 1, 2, 3, 6, 7, 9, 11, got 10",
    ),
    "a tensor from nowhere": (node("Add", "images y", "x"), "inputs that are computed before, got 'y'"),
    "a name again": (node("Relu", "images", "last"), "a name of its own, got 'last'"),
    "more outputs": (
        node("MaxPool", "images", "x y", {"kernel_shape": [2, 2]}),
        "expected 1 outputs of MaxPool, got 2",
    ),
    "a shape that is computed": (
        model(
            ("Cast", "images", "i", {"to": 7}),
            ("Reshape", "i m", "s", {}),
            ("Reshape", "images s", "x", {}),
            m=ints(-1),
        ),
        "expected a shape known before running, got one that is computed",
    ),
    "images times images": (
        model(
            ("Shape", "images", "n", {"end": 1}), ("Mul", "n n", "m", {}), ("ConstantOfShape", "m", "x", {})
        ),
        "one that grows with their power 2",
    ),
    "a zero that hides a size": (
        node("ConstantOfShape", "s", "x", s=ints(0, 1 << 40)),
        "constant operations, got 1.1e",
    ),
    "a negative size": (node("ConstantOfShape", "s", "x", s=ints(-5)), "sizes of at least 0"),
    "scales of another axis": (
        node(
            "QuantizeLinear",
            "images s z",
            "x",
            {"axis": 2},
            s=np.ones(9, np.float32),
            z=np.zeros(9, np.uint8),
        ),
        "expected 6 scales along the axis 2, got 9",
    ),
    "a zero point of another type": (
        node("DequantizeLinear", "q s z", "x", q=np.ones(3, np.int8), s=np.float32(1), z=np.uint8(0)),
        "expected uint8, int8 or int32 as the zero point, got the type 3",
    ),
    "a block": (
        node("QuantizeLinear", "images s", "x", {"block_size": 2}, opset=21, s=np.float32(1)),
        "QuantizeLinear.block_size, 0 to 0, got 2",
    ),
    "nine axes": (
        node("Unsqueeze", "images a", "x", a=ints(0, 1, 2, 3, 4)),
        "expected at most 8 axes, got 9",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_allowed_or_not_known_is_refused_in_one_line(case):
    raw, message = REFUSED[case]
    with pytest.raises(BundleError, match=message) as caught:
        admit(raw, "a.onnx")
    assert str(caught.value).startswith("a.onnx: ")
    assert "\n" not in str(caught.value)


LIMITED = {
    "nodes": (1, "expected at most 1 nodes, got more"),
    "values": (50, "expected at most 50 fields"),
    "weights": (10, "expected at most 10 weights"),
    "tensor_bytes": (700, "expected at most 700 tensor bytes, got 768"),
    "total_bytes": (2000, "expected at most 2,000 total bytes"),
    "operations": (5000, "expected at most 5,000 operations, got 6.91e"),
}


@pytest.mark.parametrize("limit", LIMITED)
def test_every_limit_holds_and_can_be_raised(limit):
    raw = model(("Conv", "images w", "x", {}), ("Flatten", "x", "y", {}), w=floats(8, 4, 3, 3))
    most, message = LIMITED[limit]
    admit(raw, "a", limits=Limits(**{limit: 10**6}))
    with pytest.raises(BundleError, match=message):
        admit(raw, "a", limits=Limits(**{limit: most}))


def test_work_on_constants_while_loading_is_limited_too():
    raw = node("MatMul", "m m", "x", m=floats(300, 300))
    with pytest.raises(BundleError, match=r"at most 8,388,608 constant operations, got 2\.7e"):
        admit(raw, "a")
    admit(raw, "a", limits=Limits(constant_operations=10**8))
