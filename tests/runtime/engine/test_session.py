import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from eed_edge.errors import BundleError, DeviceError, InputError
from eed_edge.runtime.engine.session import SessionConfig, check_signature, open_session
from tests.runtime.conftest import make_manifest
from tests.runtime.tiny_onnx import graph, linear, model, node, value_info

SOUND = linear(np.eye(48, 3), np.zeros(3))
MANIFEST = make_manifest([SOUND], {"golden.npz": b""})


def relu(inputs, outputs):
    """A model that copies each input to an output, of the shapes and types named."""
    nodes = [node("Identity", [i], [o]) for (i, *_), (o, *_) in zip(inputs, outputs, strict=True)]
    return model(graph(nodes, [], [value_info(*i) for i in inputs], [value_info(*o) for o in outputs]))


@pytest.mark.parametrize("spinning", [False, True])
def test_a_session_has_the_threads_and_spinning_asked_for(spinning):
    options = open_session(
        SOUND, "a", config=SessionConfig(threads=2, spinning=spinning)
    ).get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == str(int(spinning))


@pytest.mark.parametrize("arena", [False, True])
def test_a_session_keeps_memory_only_if_it_may(arena):
    options = open_session(SOUND, "a", config=SessionConfig(arena=arena)).get_session_options()
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (arena, arena)


def test_one_thread_and_no_spinning_is_the_default():
    options = open_session(SOUND, "a").get_session_options()
    assert options.enable_cpu_mem_arena
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_model_that_onnxruntime_refuses_is_named_in_one_line(capfd):
    broken = model(graph([node("NoSuchOperator", ["images"], ["logits"])], [], [], []))
    for raw in (b"no model", broken):
        with pytest.raises(BundleError, match=r"a\.onnx: onnxruntime cannot use it: .*; export") as caught:
            open_session(raw, "a.onnx")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_in_onnxruntimes_own_format_is_refused(tmp_path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "a.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    cpu = ["CPUExecutionProvider"]
    onnxruntime.InferenceSession(SOUND, options, providers=cpu)
    raw = (tmp_path / "a.ort").read_bytes()
    assert raw[4:8] == b"ORTM"
    assert onnxruntime.InferenceSession(raw, providers=cpu).get_outputs()[0].name == "logits"
    with pytest.raises(BundleError, match=r"a\.onnx: onnxruntime cannot use it: .*protobuf.*; export"):
        open_session(raw, "a.onnx")


@pytest.mark.parametrize("providers", [["NoSuchProvider"], ["NoSuchProvider", "CPUExecutionProvider"], []])
def test_a_provider_that_is_not_there_is_an_error_that_lists_those_that_are(providers):
    with pytest.raises(DeviceError, match=r"expected a provider out of .*CPUExecutionProvider.*, got '"):
        open_session(SOUND, "a", config=SessionConfig(providers=providers))


BAD_SETTINGS = [
    *(("threads", value, "a whole number from 1 to 1024") for value in (0, -1, 2.5, "2", True, None, 10**12)),
    *((name, value, "True or False") for name in ("spinning", "arena") for value in ("yes", 3, None)),
    *(
        ("providers", value, "a list or tuple of names")
        for value in ("CPUExecutionProvider", [1], 5, None, [("CPUExecutionProvider", {})])
    ),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_SETTINGS)
def test_a_setting_of_another_type_or_out_of_range_is_one_line(name, value, expected):
    with pytest.raises(InputError, match=f"^expected {name}, {expected}, got .*; [^\n]*$"):
        SessionConfig(**{name: value})


def test_reports_store_threads_spinning_and_arena_and_no_provider():
    assert SessionConfig(np.int64(2), True, False).as_record() == {
        "threads": 2,
        "spinning": True,
        "arena": False,
    }


def test_a_provider_that_onnxruntime_silently_replaces_is_an_error(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Fake", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["CPUExecutionProvider"])
    with pytest.raises(BundleError, match="onnxruntime cannot use it") as caught:
        open_session(SOUND, "a", config=SessionConfig(providers=["Fake"]))
    assert "Fake" in str(caught.value)


@pytest.mark.parametrize("version", ["1.19.2", "1.9", "0.5.0"])
def test_an_onnxruntime_too_old_says_which_is_needed(monkeypatch, version):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(DeviceError, match=rf"expected onnxruntime >= 1\.20, got {version}; run: pip install"):
        open_session(SOUND, "a")


def test_a_missing_onnxruntime_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match=r"expected onnxruntime >= 1\.20, got none; run: pip install"):
        open_session(SOUND, "a")


BROKEN_INSTALLS = {
    "raise ImportError('libgomp.so.1: no\\nsuch file')": "libgomp.so.1: no such file",
    "import a_package_it_needs": "No module named 'a_package_it_needs'",
    "raise OSError": "OSError",
    "": "has no attribute '__version__'",
}


@pytest.mark.parametrize("code", BROKEN_INSTALLS)
def test_an_onnxruntime_that_cannot_be_imported_says_why(monkeypatch, tmp_path, code):
    (tmp_path / "onnxruntime.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime")
    with pytest.raises(DeviceError, match="got one that is installed but cannot be imported: ") as caught:
        open_session(SOUND, "a")
    assert BROKEN_INSTALLS[code] in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)


def test_a_fitting_signature_gives_the_name_of_the_output():
    assert check_signature(open_session(SOUND, "a"), "a", MANIFEST) == "logits"


SHAPE = ("N", 3, 4, 4)
SIGNATURES = [
    ([("pixels", SHAPE)], [("logits", SHAPE)], "expected one input images"),
    ([("images", ("N", 1, 4, 4))], [("logits", ("N", 1, 4, 4))], "expected one input images"),
    ([("images", (1, 3, 4, 4))], [("logits", (1, 3, 4, 4))], "expected one input images"),
    ([("images", SHAPE, 11)], [("logits", SHAPE, 11)], "expected one input images"),
    (
        [("images", SHAPE), ("more", SHAPE)],
        [("logits", SHAPE), ("other", SHAPE)],
        "expected one input images",
    ),
]


@pytest.mark.parametrize(("inputs", "outputs", "message"), SIGNATURES)
def test_a_model_that_takes_something_else_is_refused(inputs, outputs, message):
    session = open_session(relu(inputs, outputs), "a.onnx")
    with pytest.raises(BundleError, match=rf"a\.onnx: {message} .*, got \[.*\]; export"):
        check_signature(session, "a.onnx", MANIFEST)


def test_a_model_with_two_outputs_is_refused():
    nodes = [node("Relu", ["images"], ["logits"]), node("Relu", ["images"], ["more"])]
    raw = model(
        graph(nodes, [], [value_info("images", SHAPE)], [value_info(o, SHAPE) for o in ("logits", "more")])
    )
    with pytest.raises(BundleError, match="expected one float output of logits, got"):
        check_signature(open_session(raw, "a"), "a", MANIFEST)


def test_a_model_that_says_it_knows_another_number_of_classes_is_refused():
    four = open_session(linear(np.eye(48, 4), np.zeros(4)), "a")
    with pytest.raises(
        BundleError, match=r"a: expected logits \('N', 3\), .* 3 classes, got \['N', 4\]; export"
    ):
        check_signature(four, "a", MANIFEST)
    images = open_session(relu([("images", SHAPE)], [("logits", SHAPE)]), "a")
    with pytest.raises(BundleError, match=r"expected logits \('N', 3\), .*, got \['N', 3, 4, 4\]; export"):
        check_signature(images, "a", MANIFEST)


def test_a_name_that_is_not_utf_8_is_one_line():
    raw = SOUND.replace(b"logits", b"logit\xff")
    with pytest.raises(BundleError, match=r"a: expected names in UTF-8, got b'logit\\xff'; export"):
        check_signature(open_session(raw, "a"), "a", MANIFEST)


def test_loading_a_bundle_leaves_nothing_in_the_home_folder(tiny, tmp_path):
    (home := tmp_path / "home").mkdir()
    environment = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-B", "-c", f"import eed_edge; eed_edge.load({str(tiny.folder)!r})"]
    root = Path(__file__).parents[3]
    subprocess.run(
        command, check=True, cwd=root, env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    )
    assert list(home.iterdir()) == []
