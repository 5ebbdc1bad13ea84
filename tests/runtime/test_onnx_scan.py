import time

import numpy as np
import pytest

from eed_edge.errors import BundleError
from eed_edge.runtime.onnx_scan import DEEPEST, inspect
from tests.runtime.tiny_onnx import field, graph, linear, model, node, tensor, value_info, varint

SOUND = linear(np.eye(48, 3), np.zeros(3))
WEIGHT = tensor("w", np.zeros((2, 2), np.float32))


def with_node(node_bytes):
    return model(graph([node_bytes], [], [], []))


def with_tensor(extra):
    return model(graph([node("Relu", ["x"], ["y"])], [WEIGHT + extra], [], []))


def graph_attribute(inner, number=6):
    return field(5, field(1, "then_branch") + field(number, inner))


def test_a_sound_model_gives_its_opset_and_operators():
    found = inspect(SOUND, "a.onnx")
    assert found.opset == 18
    assert found.operators == {"Flatten", "Gemm", "Identity"}


def test_operators_inside_branches_are_seen():
    inner = graph([node("Relu", ["x"], ["y"])], [], [], [])
    assert inspect(with_node(node("If", ["c"], ["y"], attributes=graph_attribute(inner))), "a").operators == {
        "If",
        "Relu",
    }


def nested(depth):
    inner = graph([node("Relu", ["x"], ["y"])], [], [], [])
    for _ in range(depth):
        inner = graph([node("If", ["c"], ["y"], attributes=graph_attribute(inner))], [], [], [])
    return model(inner)


EXTERNAL = field(13, field(1, "location") + field(2, "../../secret"))
LOOP = graph([node("Loop", ["c"], ["y"])], [], [], [])
REFUSED = {
    "external data": (with_tensor(EXTERNAL), "a tensor stored in another file"),
    "external location": (with_tensor(field(14, 1)), "a tensor stored in another file"),
    "external attribute": (
        with_node(node("Constant", [], ["y"], attributes=field(5, field(5, WEIGHT + EXTERNAL)))),
        "a tensor stored in another file",
    ),
    "external sparse": (
        model(graph([node("Relu", ["x"], ["y"])], [], [], []) + field(15, field(1, WEIGHT + EXTERNAL))),
        "a tensor stored in another file",
    ),
    "external sparse attribute": (
        with_node(node("Constant", [], ["y"], attributes=field(5, field(22, field(1, WEIGHT + EXTERNAL))))),
        "a tensor stored in another file",
    ),
    "external in a list of tensors": (
        with_node(node("Odd", [], ["y"], attributes=field(5, field(10, WEIGHT + EXTERNAL)))),
        "a tensor stored in another file",
    ),
    "external indices in a list of sparse tensors": (
        with_node(node("Odd", [], ["y"], attributes=field(5, field(23, field(2, WEIGHT + EXTERNAL))))),
        "a tensor stored in another file",
    ),
    "custom domain": (
        with_node(node("Evil", ["x"], ["y"], domain="com.evil")),
        "'Evil' of the domain 'com.evil'",
    ),
    "runtime's own domain": (
        with_node(node("FusedConv", ["x"], ["y"], domain="com.microsoft")),
        "of the domain 'com.microsoft'",
    ),
    "loop": (with_node(node("Loop", ["x"], ["y"])), "expected bounded work, got the operator Loop"),
    "scan": (with_node(node("Scan", ["x"], ["y"])), "got the operator Scan"),
    "loop in a branch": (
        with_node(node("If", ["c"], ["y"], attributes=graph_attribute(LOOP))),
        "got the operator Loop",
    ),
    "loop in a list of graphs": (
        with_node(node("If", ["c"], ["y"], attributes=graph_attribute(LOOP, 11))),
        "got the operator Loop",
    ),
    "function": (SOUND + field(25, field(1, "f")), "a function of its own"),
    "training": (SOUND + field(20, field(1, b"")), "training information"),
    "nesting": (nested(DEEPEST), f"nested at most {DEEPEST} deep"),
    "endless nesting": (nested(2000), f"nested at most {DEEPEST} deep"),
    "empty": (b"", "no operators or no opset"),
    "no opset": (field(7, graph([node("Relu", ["x"], ["y"])], [], [], [])), "no operators or no opset"),
    "group": (varint(7 << 3 | 3) + SOUND, "wire type 3 at byte 1"),
    "endless number": (b"\x08" + b"\xff" * 20, "a number of more than 10 bytes"),
    "number for a message": (field(7, 5), "a number where a message was expected"),
    "message for a number": (SOUND + field(8, field(2, b"18")), "a message where a number was expected"),
    "fixed numbers cut short": (
        SOUND + varint(99 << 3 | 1) + b"1234",
        "cut short or not an ONNX model: 8 bytes",
    ),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX model"),
    "text that is no text": (with_node(field(4, b"\xff\xfe")), "can't decode"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_must_not_be_in_a_bundle_is_refused(case):
    raw, message = REFUSED[case]
    with pytest.raises(BundleError, match=rf"evil.onnx: .*{message}.*; export the bundle again"):
        inspect(raw, "evil.onnx")


def test_every_cut_through_a_model_is_refused_or_harmless():
    lost = 0
    for end in range(len(SOUND)):
        try:
            inspect(SOUND[:end], "a")
        except BundleError:
            lost += 1
    assert lost > len(SOUND) - 30  # a cut between two fields behind the graph may leave a model


def test_random_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    for _ in range(300):
        raw = bytearray(SOUND)
        for place in rng.integers(0, len(raw), 5):
            raw[place] = rng.integers(256)
        try:
            inspect(bytes(raw), "a")
        except BundleError:
            continue


def test_fixed_width_numbers_and_unknown_fields_are_passed_over():
    extra = varint(99 << 3 | 1) + bytes(8) + varint(98 << 3 | 5) + bytes(4) + field(97, "hello")
    assert inspect(SOUND + extra, "a") == inspect(SOUND, "a")


def test_large_weights_cost_no_time():
    heavy = tensor("w", np.zeros((3000, 3000), np.float32))
    raw = model(graph([node("Relu", ["x"], ["y"])], [heavy], [value_info("x", ("N", 3))], []))
    started = time.perf_counter()
    inspect(raw, "a")
    assert time.perf_counter() - started < 0.1
