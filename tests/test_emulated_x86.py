"""An int8 bundle answers alike on an x86 processor without VNNI; `make emulated-x86` runs the demo's so."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.errors import DeviceError
from eed_edge.export.int8.quantise import Int8Choices, quantise
from eed_edge.export.network_graph import to_onnx
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow

needs_qemu = pytest.mark.skipif(
    not shutil.which("qemu-x86_64-static"), reason="qemu-x86_64-static is not installed"
)
SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "portability"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import cases
    import emulated_x86

    yield cases, emulated_x86
    for name in ("cases", "emulated_x86", "javascript"):
        sys.modules.pop(name, None)


ANSWER = """
import sys, numpy as np, onnxruntime
for name in sys.argv[1:]:
    session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
    np.save(name + ".npy", session.run(None, {"images": np.ones((2, 1, 8, 8), np.float32)})[0])
"""


def answers_of(command, files):
    subprocess.run([*command, sys.executable, "-c", ANSWER, *files], check=True, stderr=subprocess.DEVNULL)
    return [np.load(f"{file}.npy") for file in files]


@needs_qemu
def test_weights_of_seven_bits_do_not_overflow_without_vnni_and_those_of_eight_do(tmp_path):
    """All weights and activations of the middle layer are as large as they can be."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 3)
    )
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.fill_(1.0)
            layer.bias.fill_(0.0)
    images = np.ones((8, 1, 8, 8), np.float32)
    model, files = to_onnx(net, torch.from_numpy(images[:1])), []
    for name, choices in (("seven", Int8Choices()), ("eight", Int8Choices(reduce_range=False))):
        files.append(tmp_path / f"{name}.onnx")
        files[-1].write_bytes(quantise(model, images, choices=choices))
    with torch.no_grad():
        expected = net(torch.from_numpy(images[:2])).numpy()
    seven, eight = answers_of(["qemu-x86_64-static", "-cpu", "Haswell"], files)
    np.testing.assert_allclose(seven, expected, atol=0.05)
    assert np.abs(eight - expected).max() > 0.5


@needs_qemu
def test_the_int8_digits_bundle_answers_alike_without_vnni(int8_flow: Flow, scripts, tmp_path):
    cases, emulated_x86 = scripts
    images = splits_for_recipe(open_run(int8_flow.run).recipe, None).test.images[:200]
    np.savez(tmp_path / "images.npz", images=images.transpose(0, 2, 3, 1))
    expected = cases.write_cases(int8_flow.bundle, tmp_path / "images.npz", tmp_path / "cases")
    answers = (tmp_path / "cases", tmp_path / "answers.json")
    answered = emulated_x86.answers_of("Haswell", int8_flow.bundle, *answers)
    for figures in cases.compare(expected, answered, "emulated").values():
        assert [one["images"] for one in figures.values()] == [200, 200]
        assert all(one["largest_probability_difference"] <= 0.02 for one in figures.values())


def test_a_machine_of_another_kind_is_told(scripts, monkeypatch):
    _, emulated_x86 = scripts
    monkeypatch.setattr(emulated_x86.platform, "machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match="expected an x86-64 machine, got aarch64"):
        emulated_x86.find_qemu()
