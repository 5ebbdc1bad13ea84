import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eed_edge.errors import InferenceError
from eed_edge.runtime.engine.session import DEFAULT
from eed_edge.runtime.measure import cold_start, timing
from eed_edge.runtime.measure.timing import measure_cold_start, peak_rss_mib, rss_mib

HOLD = """
import numpy as np
from eed_edge.runtime.measure.timing import peak_rss_mib
before = peak_rss_mib()
held = np.ones((int(before) + 64) * 2**17)  # 8 bytes each
print(before, held.nbytes / 2**20, peak_rss_mib())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say")
def test_peak_memory_counts_what_was_held_in_mib():
    """In a process of its own, which is small."""
    printed = subprocess.check_output([sys.executable, "-c", HOLD], text=True, cwd=Path(__file__).parents[3])
    before, held, peak = map(float, printed.split())
    assert held < peak < before + held + 64


def test_peak_memory_is_0_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(timing, "_STATUS", tmp_path / "nowhere")
    if sys.platform != "win32":
        assert peak_rss_mib() > 10
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_rss_mib() == 0


def test_a_fresh_process_does_not_count_the_memory_of_its_parent(tiny):
    held = np.ones(400 * 2**17)
    assert measure_cold_start(tiny.folder, runs=1)["peak_rss_mib"] < held.nbytes / 2**20


def test_a_fresh_process_loads_and_answers_a_bundle_and_a_network(tiny):
    for path in (tiny.folder, tiny.folder / "submodel-0.onnx"):
        result = measure_cold_start(path, runs=1)
        assert set(result) == {"load_ms", "first_ms", "first_answer_ms", "mean_rss_mib", "peak_rss_mib"}
        assert all(value > 0 for value in result.values())
        assert result["mean_rss_mib"] <= result["peak_rss_mib"]


def test_the_cost_of_a_start_is_measured_from_loading_to_the_first_answer(tiny):
    for path in (tiny.folder, tiny.folder / "submodel-0.onnx"):
        result = cold_start.load_and_answer(path, DEFAULT)
        assert 0 < result["first_ms"] < result["load_ms"] + 1000
        assert result["first_answer_ms"] == pytest.approx(result["load_ms"] + result["first_ms"])


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say")
def test_memory_now_falls_when_it_is_given_back_and_is_0_where_the_system_does_not_say(monkeypatch, tmp_path):
    held = np.ones(300 * 2**17)
    with_it = rss_mib()
    del held
    assert 250 < with_it - rss_mib() < 350
    monkeypatch.setattr(timing, "_STATUS", tmp_path / "nowhere")
    assert rss_mib() == 0


def test_a_fresh_process_that_fails_says_why(tiny):
    (tiny.folder / "submodel-0.onnx").write_bytes(b"")
    with pytest.raises(InferenceError, match=r"got: eed_edge\.errors\.BundleError: submodel-0\.onnx"):
        measure_cold_start(tiny.folder, runs=1)
