"""Each hostile file is refused, and the danger is real: other readers take it, onnxruntime runs it."""

import hashlib

import numpy as np
import onnxruntime
import pytest

import eed_edge
from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.onnx_scan import inspect
from eed_edge.runtime.engine.session import open_session
from tests.hostile.onnx_files import (
    DECOY,
    FIVE_BYTE_TAGS,
    HOSTILE,
    OTHER_ENCODINGS,
    SECRET,
    SOUND,
    external,
    ort_file,
    polyglot,
    with_graph,
)
from tests.hostile.onnx_parsers import cpp_checker_parses, parse_in_cpp, parse_in_python, view
from tests.runtime.conftest import Tiny
from tests.runtime.tiny_onnx import field, model, node

IMAGES = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)


def run(session):
    return session.run(None, {"images": IMAGES})[0]


def plain_session(raw):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_readers_may_read_otherwise_is_refused_in_one_line(case):
    with pytest.raises(BundleError) as caught:
        inspect(HOSTILE[case].raw, "evil.onnx")
    message = str(caught.value)
    assert HOSTILE[case].message in message
    assert message.startswith("evil.onnx: expected ")
    assert ", got " in message
    assert message.endswith("; export the bundle again with eed-edge")
    assert "\n" not in message


@pytest.mark.parametrize("case", HOSTILE)
def test_whether_onnxs_parsers_take_the_file_is_as_said(case):
    hostile = HOSTILE[case]
    assert (parse_in_python(hostile.raw) is not None) is hostile.python
    assert (parse_in_cpp(hostile.raw) is not None) is cpp_checker_parses(hostile.raw) is hostile.cpp


HIDDEN = {
    "external data": lambda seen: seen.external,
    "a loop": lambda seen: ("", "Loop") in seen.operators,
    "a local function": lambda seen: seen.functions == 1 and ("evil", "Evil") in seen.operators,
    "a custom operator": lambda seen: ("com.microsoft", "Gelu") in seen.operators,
    "a second graph": lambda seen: ("", "Loop") in seen.operators,
}


@pytest.mark.parametrize("case", FIVE_BYTE_TAGS)
def test_the_parser_in_cpp_sees_what_a_five_byte_tag_hides(case):
    assert parse_in_python(FIVE_BYTE_TAGS[case]) is None
    assert HIDDEN[case](view(parse_in_cpp(FIVE_BYTE_TAGS[case])))


SEEN_BY_BOTH = {
    "second operator": lambda seen: seen.operators == {("", "Loop")},
    "second domain": lambda seen: seen.operators == {("evil", "Relu")},
    "second graph": lambda seen: ("", "Loop") in seen.operators,
    "data_location beyond 32 bits": lambda seen: seen.external,
    "opset beyond 32 bits": lambda seen: seen.opsets == (("", 1 << 32 | 18),),
}


@pytest.mark.parametrize("case", SEEN_BY_BOTH)
def test_both_parsers_merge_override_or_truncate(case):
    raw = OTHER_ENCODINGS[case][0]
    assert SEEN_BY_BOTH[case](view(parse_in_python(raw)))
    assert SEEN_BY_BOTH[case](view(parse_in_cpp(raw)))


def relu(images):
    return np.maximum(images, 0)


# With a secret of 0, 1, 2 ... in the working directory; what each file pretends to be gives relu(IMAGES).
BEHIND_FIVE_BYTE_TAGS = {
    "external data": lambda: IMAGES.reshape(1, 48) @ np.arange(144, dtype=np.float32).reshape(48, 3),
    "a loop": lambda: 8 * relu(IMAGES),
    "a local function": lambda: -relu(IMAGES),
    "a custom operator": lambda: plain_session(GELU).run(None, {"images": relu(IMAGES)})[0],
    "a second graph": lambda: 8 * relu(IMAGES),
}
GELU = model(
    with_graph([node("Gelu", ["images"], ["logits"], domain="com.microsoft")]),
    extra=field(8, field(1, "com.microsoft") + field(2, 1)),
)


@pytest.fixture
def secret(tmp_path, monkeypatch):
    (tmp_path / SECRET).write_bytes(np.arange(144, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("case", FIVE_BYTE_TAGS)
def test_onnxruntime_alone_runs_what_a_five_byte_tag_hides(case):
    answer = run(plain_session(FIVE_BYTE_TAGS[case]))
    np.testing.assert_allclose(answer, BEHIND_FIVE_BYTE_TAGS[case](), rtol=1e-5)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("case", FIVE_BYTE_TAGS)
def test_a_bundle_whose_hashes_are_right_is_refused_all_the_same(case, tmp_path):
    tiny = Tiny(tmp_path / "bundle", models={1: FIVE_BYTE_TAGS[case]})
    written = (tiny.folder / "submodel-1.onnx").read_bytes()
    assert hashlib.sha256(written).hexdigest() == tiny.manifest.submodels[1].sha256
    with pytest.raises(
        BundleError, match=r"^submodel-1\.onnx: expected a plain ONNX model, got a tag of more"
    ):
        eed_edge.load(tiny.folder)


def test_external_data_in_the_open_is_refused_too():
    assert view(parse_in_python(external(field))).external
    with pytest.raises(BundleError, match="a tensor stored in another file"):
        inspect(external(field), "a")


def test_a_file_of_two_formats_runs_as_the_one_that_was_checked(tmp_path):
    negative = model(with_graph([node("Neg", ["images"], ["logits"])]))
    raw = polyglot(DECOY, ort_file(negative, tmp_path))
    assert raw[4:8] == b"ORTM"
    assert inspect(raw, "a").operators == {"Relu"}
    np.testing.assert_array_equal(run(plain_session(raw)), -IMAGES)
    np.testing.assert_array_equal(run(open_session(raw, "a")), relu(IMAGES))


def test_the_sound_model_is_accepted_and_all_readers_see_the_same():
    assert inspect(SOUND, "a").operators == {"Flatten", "Gemm", "Identity"}
    assert parse_in_python(SOUND) == parse_in_cpp(SOUND)
