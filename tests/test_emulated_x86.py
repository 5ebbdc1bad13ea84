"""An int8 bundle answers alike on an x86 processor without VNNI; `make emulated-x86` runs the demo's so."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from eed_edge.errors import DeviceError
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "portability"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import cases
    import emulated_x86

    yield cases, emulated_x86
    for name in ("cases", "emulated_x86", "javascript"):
        sys.modules.pop(name, None)


@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-x86_64-static is not installed")
def test_the_int8_digits_bundle_answers_alike_without_vnni(int8_flow: Flow, scripts, tmp_path):
    cases, emulated_x86 = scripts
    images = splits_for_recipe(open_run(int8_flow.run).recipe, None).test.images[:200]
    np.savez(tmp_path / "images.npz", images=images.transpose(0, 2, 3, 1))
    expected = cases.write_cases(int8_flow.bundle, tmp_path / "images.npz", tmp_path / "cases")
    answers = (tmp_path / "cases", tmp_path / "answers.json")
    given = emulated_x86.answers_of("Haswell", int8_flow.bundle, *answers)
    for figures in cases.compare(expected, given, "emulated").values():
        assert [one["images"] for one in figures.values()] == [200, 200]
        assert all(one["largest_probability_difference"] <= 0.02 for one in figures.values())


def test_a_machine_of_another_kind_is_told(scripts, monkeypatch):
    _, emulated_x86 = scripts
    monkeypatch.setattr(emulated_x86.platform, "machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match="expected an x86-64 machine, got aarch64"):
        emulated_x86.find_qemu()
