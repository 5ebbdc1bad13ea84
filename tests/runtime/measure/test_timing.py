import sys

import numpy as np
import pytest

from eed_edge.errors import BundleError, InferenceError, InputError
from eed_edge.runtime.bundle import folder
from eed_edge.runtime.engine.session import DEFAULT, SessionConfig, open_session
from eed_edge.runtime.measure import benchmark, cold_start, timing
from eed_edge.runtime.measure.timing import (
    interleaved,
    measure_cold_start,
    peak_rss_mib,
    summary,
)
from tests.runtime.conftest import npz

PERCENTILES = {"p50_ms", "p90_ms", "p99_ms", "mean_ms"}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def takes(self, milliseconds):
            self.now += milliseconds / 1000

    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    return clock


def test_every_call_is_timed_on_every_item_and_only_its_own_time_counts(clock):
    calls = {"slow": lambda i: clock.takes(10 + i), "fast": lambda i: clock.takes(1)}
    times = interleaved(calls, items=3, repeats=2)
    assert times["slow"] == pytest.approx(np.array([[10, 11, 12]] * 2))
    assert times["fast"] == pytest.approx(np.ones((2, 3)))


def test_calls_take_turns_after_a_warm_up_and_nobody_keeps_its_place():
    seen = []
    calls = {name: lambda i, name=name: seen.append((name, i)) for name in "abc"}
    interleaved(calls, items=2, repeats=3, warm_up=4)
    assert seen[:4] == [("a", 0), ("a", 1), ("a", 0), ("a", 1)]
    rounds = [seen[at : at + 3] for at in range(12, len(seen), 3)]
    assert all(sorted(name for name, _ in turn) == ["a", "b", "c"] for turn in rounds)
    assert [turn[0][1] for turn in rounds] == [0, 1, 0, 1, 0, 1]
    assert len({turn[0][0] for turn in rounds}) == 3


@pytest.mark.parametrize(("calls", "items", "repeats"), [({}, 1, 1), ({"a": id}, 0, 1), ({"a": id}, 1, 0)])
def test_nothing_to_time_is_an_error(calls, items, repeats):
    with pytest.raises(InputError, match="expected something to time, got"):
        interleaved(calls, items=items, repeats=repeats)


def test_a_summary_has_the_percentiles_of_all_times():
    found = summary(np.arange(101.0)[::-1].reshape(1, 101))
    assert found == {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "mean_ms": 50}


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say")
def test_peak_memory_counts_what_was_held_in_mib():
    before = peak_rss_mib()
    held = np.ones((int(before) + 64) * 2**17)  # 8 bytes each
    assert held.nbytes / 2**20 < peak_rss_mib() < before + held.nbytes / 2**20 + 64


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
        found = measure_cold_start(path, runs=1)
        assert set(found) == {"load_ms", "first_ms", "peak_rss_mib"}
        assert all(value > 0 for value in found.values())


def test_the_cost_of_a_start_is_measured_from_loading_to_the_first_answer(tiny):
    for path in (tiny.folder, tiny.folder / "submodel-0.onnx"):
        found = cold_start.load_and_answer(path, DEFAULT)
        assert 0 < found["first_ms"] < found["load_ms"] + 1000


def test_a_fresh_process_that_fails_says_why(tiny):
    (tiny.folder / "submodel-0.onnx").write_bytes(b"")
    with pytest.raises(InferenceError, match=r"got: eed_edge\.errors\.BundleError: submodel-0\.onnx"):
        measure_cold_start(tiny.folder, runs=1)


def test_a_benchmark_has_the_fields_of_the_report(make_tiny, tmp_path):
    dense = make_tiny().models[0]
    tiny = make_tiny(files={"dense.onnx": dense})
    (tmp_path / "narrow.onnx").write_bytes(dense)
    networks = benchmark.find_networks(tiny.folder, tmp_path)
    figures = benchmark.measure_latency(tiny.folder, tiny.images, networks=networks, repeats=2)
    latency = figures["latency"]
    for name in ("dense", "narrow", "static", "dynamic"):
        assert set(latency[name]) == PERCENTILES
    assert (latency["threads"], latency["repeats"], latency["images"]) == (1, 2, 20)
    assert (latency["spinning"], latency["arena"], latency["batch"]) == (False, True, 1)
    assert "providers" not in latency
    assert len(latency["submodels"]) == 3
    assert latency["speedup_mean"] == latency["dense"]["mean_ms"] / latency["dynamic"]["mean_ms"]
    assert latency["speedup_worst"] == latency["dense"]["p50_ms"] / latency["static"]["p50_ms"]
    assert latency["overhead_ratio"] > 0.5
    for key in ("load_ms", "first_ms", "peak_rss_mib"):
        assert set(latency[key]) == {"dense", "narrow", "ensemble"}
    assert 1 < figures["submodels_used"]["clean"] < 3


def test_a_benchmark_uses_the_configuration_everywhere_and_whole_batches(make_tiny, monkeypatch):
    tiny, asked = make_tiny(files={"dense.onnx": make_tiny().models[0]}), []

    def opened(*arguments, config):
        asked.append(config)
        return open_session(*arguments, config=config)

    monkeypatch.setattr(folder, "open_session", opened)
    monkeypatch.setattr(benchmark, "open_session", opened)
    networks = benchmark.find_networks(tiny.folder, None)
    config = SessionConfig(2, True, False)
    figures = benchmark.measure_latency(tiny.folder, tiny.images, networks=networks, config=config, batch=8)
    assert asked == [config] * 4
    assert (figures["latency"]["batch"], figures["latency"]["images"]) == (8, 16)


def test_speedups_and_overhead_are_ratios_of_what_was_timed():
    times = {
        "dense": np.full((2, 4), 8.0),
        "static": np.full((2, 4), 3.0),
        "dynamic": np.array([[1.0, 1.0, 2.0, 3.0]] * 2),
    }
    found = benchmark._percentiles(times)
    assert found["speedup_mean"] == pytest.approx(8 / 1.75)
    assert found["speedup_worst"] == pytest.approx(8 / 3)
    found = benchmark._overhead(times["dynamic"], 0.9 * times["dynamic"], submodels_run=7)
    assert found["overhead_ratio"] == pytest.approx(1 / 0.9)
    assert found["overhead_us_per_submodel"] == pytest.approx(100)


def test_images_come_from_the_file_named_then_the_run_then_the_bundle(tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    (tmp_path / benchmark.TEST_FILE).write_bytes(npz(images=pixels, labels=np.zeros(5, int)))
    (tmp_path / "mine.npz").write_bytes(npz(images=pixels[:2]))
    found = benchmark.real_images(tiny.folder, run=tmp_path)
    assert np.allclose(found.images, pixels.transpose(0, 3, 1, 2) / 255)
    assert not found.indicative
    assert len(benchmark.real_images(tiny.folder, npz=tmp_path / "mine.npz", run=tmp_path).images) == 2
    for run in (None, tmp_path / "empty"):
        golden = benchmark.real_images(tiny.folder, run=run)
        assert np.array_equal(golden.images, tiny.images)
        assert golden.indicative


def test_the_networks_beside_are_the_bundles_dense_before_the_runs(make_tiny, tmp_path):
    plain, run = make_tiny().folder, tmp_path / "run"
    run.mkdir()
    assert benchmark.find_networks(plain, None) == benchmark.find_networks(plain, run) == {}
    (run / "dense.onnx").write_bytes(b"")
    assert benchmark.find_networks(plain, run) == {"dense": run / "dense.onnx"}
    (plain / "dense.onnx").write_bytes(b"")
    assert benchmark.find_networks(plain, run) == {"dense": plain / "dense.onnx"}


BAD_NPZ = [
    (npz(labels=np.zeros(2)), "expected an NPZ file with images, got"),
    (b"no archive", "expected an NPZ file with images, got"),
    (npz(images=np.zeros((2, 4, 4, 3))), r"expected images \(n, h, w, c\) uint8, got \(2, 4, 4, 3\) float64"),
    (npz(images=np.zeros((4, 4, 3), np.uint8)), r"got \(4, 4, 3\) uint8; convert them"),
    (
        npz(images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.zeros(3, int)),
        r"expected labels \(2,\) integers",
    ),
    (npz(images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.zeros(2)), "got \\(2,\\) float64"),
    (npz(images=np.zeros((0, 4, 4, 3), np.uint8)), "expected at least one image, got none"),
]


@pytest.mark.parametrize(("raw", "message"), BAD_NPZ)
def test_image_files_that_do_not_fit_are_refused(tiny, tmp_path, raw, message):
    (tmp_path / "bad.npz").write_bytes(raw)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        benchmark.real_images(tiny.folder, npz=tmp_path / "bad.npz")


def test_a_network_that_cannot_be_read_or_takes_something_else_is_refused(tiny, tmp_path):
    with pytest.raises(BundleError, match=r"nowhere: cannot be read: No such file"):
        benchmark.measure_latency(tiny.folder, tiny.images, networks={"dense": tmp_path / "nowhere"})
