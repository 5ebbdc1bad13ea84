"""Times of layers: a profile written by hand, and a folder of real networks without torch or onnx."""

import hashlib

import numpy as np
import pytest

from eed_edge.errors import InputError
from eed_edge.latency.ladder_index import Ladder, LadderNetwork, write_index
from eed_edge.runtime.measure.layer_profile import profile_folder, slot_shares, slot_times
from tests.conftest import call
from tests.runtime import tiny_onnx


def event(name, ts, dur, cat="Node"):
    return {"name": name, "ts": ts, "dur": dur, "cat": cat}


def test_a_node_that_onnxruntime_put_in_goes_with_the_node_before_it_and_runs_are_told_apart():
    events = [
        event("session_initialization", 0, 50, "Session"),
        event("model_run", 100, 40, "Session"),
        event("slot0_1_0_nchwc_kernel_time", 101, 7),
        event("ReorderOutput_kernel_time", 110, 2),
        event("fused slot1_4_kernel_time", 120, 5),
        event("slot1_4_fence_before", 119, 1),
        event("model_run", 200, 40, "Session"),
        event("slot1_4_kernel_time", 220, 6),
        event("slot0_1_kernel_time", 201, 8),
    ]
    result = slot_times(events, 2)
    assert result[..., 0].tolist() == [[9, 5], [8, 6]]
    assert result[..., 1].tolist() == [[2, 1], [1, 1]]


def test_what_the_profiler_adds_to_every_node_is_found_and_taken_off():
    random = np.random.default_rng(0)
    kernels = random.uniform(5, 50, (12, 4))  # microseconds that a slot really takes, in each network
    nodes = random.integers(1, 4, (12, 4))
    profiles = [np.stack([us + 2 * number, number], -1) for us, number in zip(kernels, nodes, strict=True)]
    shares = slot_shares(kernels.sum(1) / 1000, profiles)
    np.testing.assert_allclose(shares, kernels / kernels.sum(1, keepdims=True), rtol=1e-6)


def two_layers(hidden, size=(1, 4, 4)):
    """Two layers with weights, their nodes named by slots as the exporter does."""

    def named(name, *arguments):
        return tiny_onnx.node(*arguments) + tiny_onnx.field(3, name)

    pixels, random = int(np.prod(size)), np.random.default_rng(0)
    nodes = [
        named("slot0_0", "Flatten", ["images"], ["slot0_0_0"]),
        named("slot0_1", "Gemm", ["slot0_0_0", "a", "b"], ["slot0_1_0"]),
        named("slot1_2", "Gemm", ["slot0_1_0", "c", "d"], ["logits"]),
    ]
    arrays = {"a": (pixels, hidden), "b": (hidden,), "c": (hidden, 3), "d": (3,)}
    tensors = [
        tiny_onnx.tensor(name, random.random(shape).astype(np.float32)) for name, shape in arrays.items()
    ]
    inputs = [tiny_onnx.value_info("images", ("N", *size))]
    outputs = [tiny_onnx.value_info("logits", ("N", 3))]
    return tiny_onnx.model(tiny_onnx.graph(nodes, tensors, inputs, outputs))


@pytest.fixture
def folder(tmp_path):
    entries = []
    for i, hidden in enumerate((20_000, 1_000, 5_000, 10_000, 2_000)):
        model = two_layers(hidden)
        (tmp_path / f"{i}.onnx").write_bytes(model)
        widths = {"first": (16, hidden), "second": (hidden, 3)}
        digest = hashlib.sha256(model).hexdigest()
        entries.append(
            LadderNetwork(file=f"{i}.onnx", sha256=digest, slots=("first", "second"), widths=widths)
        )
    index = Ladder(
        arch="two", architecture="d", precision="float32", input=(1, 4, 4), networks=tuple(entries)
    )
    write_index(tmp_path, index)
    return tmp_path


def test_layers_add_up_to_their_network_and_the_wide_one_takes_longer(folder):
    table = profile_folder(folder, rounds=1)
    first, second = table.layers
    assert (first.name, first.inputs, first.outputs[-1]) == ("first", (16,), 20_000)
    dense = table.ms({"first": (16, 20_000), "second": (20_000, 3)})
    assert dense == pytest.approx(table.dense_ms, rel=0.5)  # the machine may be busy
    assert first.at(16, 20_000) > 3 * first.at(16, 1_000)
    assert first.at(16, 20_000) > second.at(20_000, 3)  # five times the weights


def test_the_device_s_command_writes_the_table_and_says_how_well_it_predicts(folder, tmp_path):
    result = call("profile", folder, "--out", tmp_path / "table.json", "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "first" in result.stdout
    assert "3 networks left out of the fit were predicted within" in result.stdout
    assert (tmp_path / "table.json").is_file()


def test_a_folder_that_is_damaged_or_none_is_refused(folder, tmp_path):
    (folder / "1.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"1.onnx: expected the file of networks.json, got another"):
        profile_folder(folder, rounds=1)
    (folder / "networks.json").write_text("{}")
    with pytest.raises(InputError, match=r"expected a folder of eed-edge profile --networks, got"):
        profile_folder(folder)
    with pytest.raises(InputError, match="expected one round or more, got 0"):
        profile_folder(folder, rounds=0)


def test_the_command_asks_for_something_to_do(folder):
    assert "give --out to measure here" in call("profile", "digits-resnet18").output
    assert "is a folder of networks already" in call("profile", folder, "--networks", "x").output
