"""The benchmark of a bundle: fields, ratios against plain arithmetic, and prefixes that really run."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import BundleError, InputError
from eed_edge.manifest import dump_manifest
from eed_edge.runtime.bundle import folder
from eed_edge.runtime.engine.session import DEFAULT, SessionConfig, open_session
from eed_edge.runtime.measure import benchmark
from tests.runtime.conftest import npz

SUMMARY = {"p50_ms", "p90_ms", "p99_ms", "mean_ms", "p25_ms", "p75_ms", "mean_low_ms", "mean_high_ms"}


def test_a_benchmark_has_the_fields_of_the_report(make_tiny, tmp_path):
    dense = make_tiny().models[0]
    tiny = make_tiny(files={"dense.onnx": dense})
    (tmp_path / "narrow.onnx").write_bytes(dense)
    networks = benchmark.find_networks(tiny.folder, tmp_path)
    figures = benchmark.measure_latency(tiny.folder, tiny.images, networks=networks, repeats=2)
    latency = figures["latency"]
    for name in ("dense", "narrow", "static", "dynamic"):
        assert set(latency[name]) == SUMMARY
    assert (latency["threads"], latency["repeats"], latency["images"]) == (1, 2, 20)
    assert (latency["spinning"], latency["arena"], latency["batch"]) == (False, True, 1)
    assert "providers" not in latency
    assert len(latency["submodels"]) == 3
    assert len(latency["prefixes"]) == 3
    assert latency["prefixes"][2] == latency["static"]
    assert set(latency["speedups"]) == {"narrow", "static", "dynamic"}
    assert latency["speedup_mean"] == latency["speedups"]["dynamic"]["median"]
    assert latency["speedup_worst"] == latency["speedups"]["static"]["median"]
    assert set(latency["narrow_over_dynamic"]) == {"median", "low", "high"}
    assert latency["conditions"]["seconds"] > 0
    assert latency["overhead_ratio"] > 0.5
    for key in ("load_ms", "first_ms", "first_answer_ms", "mean_rss_mib", "peak_rss_mib", "disk_bytes"):
        assert set(latency[key]) == {"dense", "narrow", "ensemble"}
    for name, rate in latency["images_per_second"].items():
        assert rate == pytest.approx(1000 / latency[name]["mean_ms"])
    assert set(latency["images_per_second"]) == {"dense", "narrow", "static", "dynamic"}
    sizes = {path.name: path.stat().st_size for path in tiny.folder.iterdir()}
    models = sum(size for name, size in sizes.items() if name.startswith("submodel-"))
    assert latency["disk_bytes"]["ensemble"] == models + sizes["manifest.json"]
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
    drift = np.array([[1.0], [3.0], [2.0]])  # a slow round hits everybody
    times = {
        "dense": drift * np.full((3, 4), 8.0),
        "narrow": drift * np.array([[2.0], [2.1], [2.4]]) * np.ones((3, 4)),
        "static": drift * np.full((3, 4), 3.0),
        "dynamic": drift * np.array([[1.0, 1.0, 2.0, 3.0]] * 3),
        "pgd20": drift * np.full((3, 4), 2.5),
        "prefix-1": np.ones((3, 4)),
        "submodel-1": np.ones((3, 4)),
    }
    result = benchmark._speedups(times)
    assert result["speedup_mean"] == pytest.approx(8 / 1.75)
    assert result["speedup_worst"] == pytest.approx(8 / 3)
    assert set(result["speedups"]) == {"narrow", "static", "dynamic", "pgd20"}
    assert result["speedups"]["pgd20"] == pytest.approx({"median": 3.2, "low": 3.2, "high": 3.2})
    by_hand = {"median": 2.1 / 1.75, "low": 2.05 / 1.75, "high": 2.25 / 1.75}
    assert result["narrow_over_dynamic"] == pytest.approx(by_hand)
    assert benchmark._speedups({"dynamic": times["dynamic"]}) == {}
    result = benchmark._overhead(times["dynamic"][:1], 0.9 * times["dynamic"][:1], submodels_run=7)
    assert result["overhead_ratio"] == pytest.approx(1 / 0.9)
    assert result["overhead_us_per_submodel"] == pytest.approx(100)


class Watched:
    """A session that counts its calls."""

    def __init__(self, session, index, ran):
        self._session, self._index, self._ran = session, index, ran

    def run(self, *arguments):
        self._ran.append(self._index)
        return self._session.run(*arguments)

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding):
        self._ran.append(self._index)
        self._session.run_with_iobinding(binding)


def test_prefixes_and_stops_under_attack_are_timed_as_they_run(tiny, monkeypatch):
    """Every call of a program makes the sub-models run that its stop says, one after another."""
    cascade, ran, by_program = benchmark.open_cascade(tiny.folder, DEFAULT), [], {}
    cascade.submodels = tuple(
        submodel._replace(session=Watched(submodel.session, index, ran))
        for index, submodel in enumerate(cascade.submodels)
    )

    def run_each(calls, *, items, rounds):
        for name, call in calls.items():
            for item in range(items):
                ran.clear()
                call(item)
                by_program.setdefault(name, []).append(list(ran))
        return {name: np.ones((rounds, items)) for name in calls}

    monkeypatch.setattr(benchmark, "open_cascade", lambda folder, config: cascade)
    monkeypatch.setattr(benchmark, "in_blocks", run_each)
    monkeypatch.setattr(benchmark, "device_costs", lambda *_, **__: {})
    stops = {"pgd20": [0.5, 0.25, 0.25], "slowdown": [0.0, 0.0, 1.0]}
    figures = benchmark.measure_latency(tiny.folder, tiny.images, networks={}, stops=stops)
    assert by_program["prefix-1"] == [[0]] * 20
    assert by_program["prefix-2"] == [[0, 1]] * 20
    assert by_program["static"] == by_program["slowdown"] == [[0, 1, 2]] * 20
    assert sorted(by_program["pgd20"]) == [[0]] * 10 + [[0, 1]] * 5 + [[0, 1, 2]] * 5
    assert by_program["pgd20"] != sorted(by_program["pgd20"])  # mixed, as images are
    assert [len(each) for each in by_program["dynamic"]] == cascade(tiny.images).submodels_used.tolist()
    assert {"pgd20", "slowdown"} <= figures["latency"].keys()
    by_program.clear()
    benchmark.measure_latency(tiny.folder, tiny.images, networks={}, stops=stops, batch=5)
    assert "pgd20" not in by_program


def test_images_come_from_the_file_named_then_the_run_then_the_bundle(tiny, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    (tmp_path / benchmark.TEST_FILE).write_bytes(npz(images=pixels, labels=np.zeros(5, int)))
    (tmp_path / "mine.npz").write_bytes(npz(images=pixels[:2]))
    result = benchmark.real_images(tiny.folder, run=tmp_path)
    assert np.allclose(result.images, pixels.transpose(0, 3, 1, 2) / 255)
    assert not result.indicative
    assert len(benchmark.real_images(tiny.folder, npz=tmp_path / "mine.npz", run=tmp_path).images) == 2
    for i, image in enumerate(pixels[:3]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    pictures = benchmark.real_images(tiny.folder, npz=tmp_path, run=tmp_path)
    assert np.array_equal(pictures.images, result.images[:3])
    monkeypatch.setattr(benchmark, "MOST_PICTURES", 2)
    some = benchmark.real_images(tiny.folder, npz=tmp_path)
    assert np.array_equal(some.images, result.images[[0, 2]])
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


def test_dense_in_int8_and_another_bundle_are_timed_beside_and_compared(make_tiny, tmp_path):
    model = make_tiny().models[0]
    other = shutil.copytree(make_tiny().folder, tmp_path / "other")
    tiny = make_tiny(files={"dense.onnx": model, "dense-int8.onnx": model})
    networks = benchmark.find_networks(tiny.folder, None)
    assert list(networks) == ["dense", "dense_int8"]
    networks |= {"other_bundle": other}
    latency = benchmark.measure_latency(tiny.folder, tiny.images, networks=networks, repeats=2)["latency"]
    assert set(latency["dense_int8"]) == set(latency["other_bundle"]) == SUMMARY
    needed = [path.stat().st_size for path in other.iterdir() if path.name != "golden.npz"]
    assert latency["disk_bytes"]["other_bundle"] == sum(needed)
    assert set(latency["speedups_int8"]) == set(latency["speedups"]) == {"static", "dynamic", "other_bundle"}
    assert latency["speedup_mean_int8"] == latency["speedups_int8"]["dynamic"]["median"]
    assert set(latency["other_bundle_over_dynamic"]) == {"median", "low", "high"}
    assert set(latency["load_ms"]) == {"dense", "dense_int8", "other_bundle", "ensemble"}


def test_speedups_over_dense_in_int8_are_ratios_of_what_was_timed():
    times = {
        name: np.full((3, 4), ms) for name, ms in (("dense_int8", 3.0), ("static", 2.0), ("dynamic", 0.5))
    }
    result = benchmark._speedups(times | {"other_bundle": np.full((3, 4), 1.0)})
    assert (result["speedup_mean_int8"], result["speedup_worst_int8"]) == (6, 1.5)
    assert result["other_bundle_over_dynamic"]["median"] == 2
    assert "speedup_mean" not in result


def test_a_bundle_of_other_images_is_not_timed_beside(make_tiny, tmp_path):
    tiny = make_tiny()
    other = shutil.copytree(tiny.folder, tmp_path / "other")
    renamed = dataclasses.replace(tiny.manifest, classes=("a", "b", "c"))
    (other / "manifest.json").write_bytes(dump_manifest(renamed))
    with pytest.raises(BundleError, match="other: expected a bundle of the same images and classes"):
        benchmark.measure_latency(tiny.folder, tiny.images, networks={"other_bundle": other})


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
    with pytest.raises(BundleError, match=r"nowhere: cannot be opened: No such file"):
        benchmark.measure_latency(tiny.folder, tiny.images, networks={"dense": tmp_path / "nowhere"})
