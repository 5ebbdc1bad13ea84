import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import eed_edge
from eed_edge.cli.measure.bench import PERCENTILES
from eed_edge.provenance import evaluated_digest
from tests.conftest import call
from tests.runtime.conftest import npz


@pytest.fixture
def with_run(make_tiny, tmp_path):
    """A bundle and the run it was exported from, as far as bench looks at that."""
    run = tmp_path / "run"
    (run / "joint").mkdir(parents=True)
    weights = [b"one", b"two", b"three"]
    for i, data in enumerate(weights):
        (run / "joint" / f"member-{i}.safetensors").write_bytes(data)
    (run / "joint.json").write_text('{"members": [{}, {}, {}]}')
    digest = hashlib.sha256(b"onetwothree").hexdigest()
    predicted = {f"predicted_ms_{i}": 1000.0 for i in range(3)}  # far more than they take
    return make_tiny(metrics={"weights_sha256": digest, **predicted, "predicted_on": "a chip"}), run


def test_bench_prints_a_table_and_puts_its_figures_into_the_run_s_report(with_run, tmp_path):
    tiny, run = with_run
    (run / "dense.onnx").write_bytes(tiny.models[0])
    old = {"seed": 3, "submodels_used": {"pgd20": 2.5}, "latency": {"narrow": {"p50_ms": 1}}}
    old["evaluated"] = evaluated_digest(run, tiny.folder).hexdigest()
    old["curves"] = {"stopping": {"pgd20": [0.5, 0.25, 0.25], "slowdown": [0, 0, 1]}}
    (run / "report.json").write_text(json.dumps(old))
    result = call("bench", tiny.folder, "--run", run, "--repeats", 2, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    for text in (
        "20 golden images",
        f"indicative only; {run} gets test images by eed-edge attack, or give --images, for figures",
        "dense",
        "static",
        "dynamic",
        "first 3",
        "sub-model 3",
        "speed-up over dense: clean",
        "predicted ms of the sub-models on a chip: 1000.000 (-100.0% measured), 1000.000",
        "load average",
    ):
        assert text in result.stdout
    report, alone = (
        json.loads((run / "report.json").read_text()),
        json.loads((tmp_path / "out.json").read_text()),
    )
    assert report["seed"] == 3
    assert set(report["submodels_used"]) == {"pgd20", "clean"}
    assert report["latency"] == alone["latency"]
    assert re.search(r"over dense: clean [^,]*, PGD-20 [^,]*, Slowdown [^,]*, all run ", result.stdout)
    assert {"pgd20", "slowdown"} < alone["latency"]["speedups"].keys()
    assert alone["latency"]["indicative"] is True
    assert alone["latency"]["predicted_ms"] == [1000.0] * 3
    assert {"machine", "commit", "commands"} <= alone.keys()


def test_bench_times_dense_in_int8_and_a_bundle_beside(make_tiny, tmp_path):
    model = make_tiny().models[0]
    other = shutil.copytree(make_tiny().folder, tmp_path / "other")
    tiny = make_tiny(files={"dense.onnx": model, "dense-int8.onnx": model})
    result = call("bench", tiny.folder, "--beside", other, "--repeats", 1)
    assert result.exit_code == 0, result.stderr
    for text in (
        "\ndense int8 ",
        "\nother bundle ",
        "speed-up over dense: clean",
        "speed-up over dense int8: clean",
        "speed-up over the other bundle: ",
        "loading the folder also verified dense.onnx (0.0 MiB), dense-int8.onnx (0.0 MiB)",
    ):
        assert text in result.stdout
    assert call("bench", tiny.folder, "--beside", tmp_path / "nowhere").exit_code != 0


def test_bench_refuses_a_run_that_the_bundle_was_not_exported_from(with_run, make_tiny):
    tiny, run = with_run
    member = run / "joint" / "member-1.safetensors"
    member.write_bytes(b"2")
    result = call("bench", tiny.folder, "--run", run)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"the bundle was not exported from {run} as it is now; export it again" in result.stderr
    member.unlink()
    assert "member" in call("bench", tiny.folder, "--run", run).stderr
    (run / "joint.json").write_text("{}")
    assert "got: KeyError; name that run" in call("bench", tiny.folder, "--run", run).stderr
    assert not (run / "report.json").exists()


def test_bench_measures_what_it_is_told(tiny, tmp_path):
    words = ("--threads", 2, "--spinning", "--no-arena", "--batch", 5, "--repeats", 1)
    result = call("bench", tiny.folder, *words, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    latency = json.loads((tmp_path / "out.json").read_text())["latency"]
    names = ("threads", "spinning", "arena", "batch", "repeats", "images")
    assert [latency[name] for name in names] == [2, True, False, 5, 1, 20]


def test_times_of_batches_do_not_replace_those_of_single_images(with_run):
    tiny, run = with_run
    result = call("bench", tiny.folder, "--run", run, "--batch", 4, "--repeats", 1)
    assert result.exit_code == 0, result.output
    assert "not kept in report.json" in result.output
    assert not (run / "report.json").exists()


def test_tune_tries_the_grid_and_prints_arguments_that_load_and_run_take(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    result = call("bench", tiny.folder, "--tune", "--repeats", 2, "--json", tmp_path / "tuned.json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "tuned.json").read_text())["tuned"]
    assert len(rows) == 6
    assert set(rows[0]) >= {"threads", "spinning", "arena", "typical_ms", *PERCENTILES}
    load, run = (line.strip() for line in result.stdout.splitlines()[-2:])
    net = eval(load, {"eed_edge": eed_edge})
    options = net.submodels[0].session.get_session_options()
    assert options.intra_op_num_threads == rows[0]["threads"]
    assert options.enable_cpu_mem_arena == rows[0]["arena"]
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    words = [str(tmp_path / "x.png") if word == "FILE..." else word for word in run.split()[1:]]
    assert call(*words).exit_code == 0


def test_bench_without_a_dense_network_says_so(tiny, tmp_path):
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    (tmp_path / "x.npz").write_bytes(npz(images=pixels))
    result = call("bench", tiny.folder, "--images", tmp_path / "x.npz", "--repeats", 1)
    assert "no dense network to compare with" in result.stdout
    assert "indicative" not in result.stdout


def test_bench_cold_times_call_by_call_and_leaves_the_report_alone(with_run, tmp_path):
    tiny, run = with_run
    (run / "dense.onnx").write_bytes(tiny.models[0])
    result = call(
        "bench", tiny.folder, "--run", run, "--cold", "--repeats", 2, "--json", tmp_path / "out.json"
    )
    assert result.exit_code == 0, result.stderr
    assert "timing call by call on 20 golden images" in result.stdout
    cold = json.loads((tmp_path / "out.json").read_text())["cold"]
    assert all(cold[name]["mean_ms"] > 0 for name in ("dense", "static", "dynamic"))
    assert (cold["repeats"], cold["images"], cold["batch"]) == (2, 20, 1)
    assert not (run / "report.json").exists()
    both = call("bench", tiny.folder, "--cold", "--tune")
    assert both.exit_code == 2
    assert "leave one out" in both.stderr
