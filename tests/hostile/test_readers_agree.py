"""Whatever the check accepts, Python's and C++'s protobuf read as the same model, and as the check did.

``make fuzz`` asks for more examples.
"""

import os
from copy import deepcopy

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eed_edge.runtime.bundle.onnx_scan import inspect
from tests.hostile.disagreement import disagreement
from tests.hostile.onnx_files import SOUND, hidden
from tests.hostile.onnx_mutations import flat, put_together, take_apart
from tests.hostile.test_onnx_schema import model_with_every_field
from tests.runtime.tiny_onnx import field, graph, model, node, tensor, varint

BRANCH = graph([node("Relu", ["x"], ["y"])], [tensor("v", np.zeros(2, np.float32))], [], [])
IF = node("If", ["c"], ["y"], attributes=field(5, field(1, "then_branch") + field(6, BRANCH) + field(20, 5)))
MODELS = [
    SOUND,
    model(graph([IF], [tensor("w", np.ones((2, 3), np.int64))], [], [])),
    model_with_every_field().SerializeToString(),
]
TREES = [take_apart(raw, onnx.ModelProto.DESCRIPTOR) for raw in MODELS]

NUMBERS = st.sampled_from([0, 1, 2, 127, 128, 1 << 31, 1 << 32 | 1, (1 << 64) - 1])
FIELD_NUMBERS = st.integers(1, 30)
TELLING = [  # what matters in a tensor, a node or a model, in the open and behind a five-byte tag
    *(put(number, value) for put in (field, hidden) for number, value in [(14, 1), (13, ""), (7, "evil")]),
    *(field(4, b"123"), field(7, b"\x80"), field(25, ""), field(4, "Loop")),
]
CHANGES = st.one_of(
    st.tuples(
        st.just("padding"), st.dictionaries(st.sampled_from(["tag", "length", "number"]), st.integers(1, 6))
    ),
    st.tuples(st.just("high_tag"), st.just(True)),
    st.tuples(st.just("copies"), st.sampled_from([0, 2])),
    st.tuples(st.just("number"), FIELD_NUMBERS),
    st.tuples(st.just("wire_type"), st.integers(0, 7)),
    st.tuples(st.just("content"), st.one_of(NUMBERS, st.binary(max_size=12))),
    st.tuples(
        st.just("before"),
        st.one_of(
            st.sampled_from(TELLING),
            st.builds(field, FIELD_NUMBERS, st.one_of(NUMBERS, st.binary(max_size=4))),
            st.builds(lambda n, w, b: varint(n << 3 | w) + b, FIELD_NUMBERS, st.integers(0, 7), st.binary()),
        ),
    ),
)


@st.composite
def mutants(draw):
    """A sound model with one field changed, or a few bytes, or both."""
    tree = deepcopy(draw(st.sampled_from(TREES)))
    parts = list(flat(tree))
    for part in draw(st.lists(st.sampled_from(range(len(parts))), max_size=2)):
        setattr(parts[part], *draw(CHANGES))
    raw = bytearray(put_together(tree))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2)):
        raw[at] = byte
    return bytes(raw)


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
)
@given(mutants())
def test_what_is_accepted_is_read_alike_by_all(raw):
    assert disagreement(raw) is None


@pytest.mark.parametrize("raw", MODELS)
def test_sound_models_are_accepted_and_put_together_as_they_were(raw):
    inspect(raw, "a")
    assert disagreement(raw) is None
    assert put_together(take_apart(raw, onnx.ModelProto.DESCRIPTOR)) == raw
