import time

import numpy as np
import pytest

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.limits import Limits
from eed_edge.runtime.bundle.onnx_scan import MAX_DEPTH, inspect
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
    parsed = inspect(SOUND, "a.onnx")
    assert parsed.opset == 18
    assert parsed.operators == {"Flatten", "Gemm", "Identity"}


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
    "nesting": (nested(MAX_DEPTH), f"nested at most {MAX_DEPTH} deep"),
    "endless nesting": (nested(2000), f"nested at most {MAX_DEPTH} deep"),
    "empty": (b"", "no operators or no opset"),
    "no opset": (field(7, graph([node("Relu", ["x"], ["y"])], [], [], [])), "no operators or no opset"),
    "group": (varint(7 << 3 | 3) + SOUND, "wire type 3 for ModelProto.graph at byte 0"),
    "endless number": (b"\x08" + b"\xff" * 20, "a number of more than 64 bits at byte 1"),
    "number for a message": (field(7, 5), "wire type 0 for ModelProto.graph at byte 0"),
    "message for a number": (SOUND + field(8, field(2, b"18")), "wire type 2 for OperatorSetIdProto.version"),
    "fixed number cut short": (
        with_node(field(5, varint(2 << 3 | 5) + b"123")),
        "AttributeProto.f cut short, 4 bytes where 3 are left, at byte",
    ),
    "unknown field": (SOUND + field(97, "hello"), "the unknown field 97 of ModelProto"),
    "unknown fixed number": (SOUND + varint(99 << 3 | 1) + bytes(8), "the unknown field 99 of ModelProto"),
    "tag of five bytes": (SOUND + varint(20 << 3 | 2 | 1 << 32) + b"\0", "a tag of more than 32 bits"),
    "second graph": (SOUND + field(7, LOOP), "a second ModelProto.graph"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "expected a plain ONNX model"),
    "text that is no text": (with_node(field(4, b"\xff\xfe")), "NodeProto.op_type that is not UTF-8"),
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


def test_repeated_numbers_may_be_packed_or_not():
    numbers = (1, 300, (1 << 64) - 1)
    packed = field(7, b"".join(map(varint, numbers)))
    one_by_one = b"".join(field(7, number) for number in numbers)
    floats = field(4, bytes(8)) + varint(4 << 3 | 5) + bytes(4)
    assert inspect(with_tensor(packed + one_by_one + floats), "a").operators == {"Relu"}


def test_work_is_bounded_by_a_number_of_fields_and_packed_numbers():
    raw = with_tensor(field(7, bytes(1000)))
    inspect(raw, "a")
    with pytest.raises(
        BundleError, match="expected at most 1,000 fields and packed numbers, got more; export"
    ):
        inspect(raw, "a", limits=Limits(values=1000))


def test_a_file_of_2_gib_is_refused_as_protobuf_does():
    class Huge(bytes):
        def __len__(self):
            return 1 << 31

    with pytest.raises(BundleError, match=r"a: expected less than 2 GiB, .*, got 2147483648 bytes; export"):
        inspect(Huge(SOUND), "a")


@pytest.mark.parametrize("number", [9, 4], ids=["raw_data", "packed float_data"])
def test_large_weights_cost_no_time(number):
    heavy = field(1, 9_000_000) + field(2, 1) + field(8, "w") + field(number, bytes(36_000_000))
    raw = model(graph([node("Relu", ["x"], ["y"])], [heavy], [value_info("x", ("N", 3))], []))
    started = time.perf_counter()
    inspect(raw, "a")
    assert time.perf_counter() - started < 0.1
