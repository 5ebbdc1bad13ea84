"""The dense base lies in the run, where bench finds it, and not in a bundle that nobody asked it for."""

import shutil

import numpy as np
import onnxruntime
import torch

from eed_edge.manifest import parse_manifest
from eed_edge.runtime.measure.benchmark import find_networks
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call


def test_export_leaves_dense_in_the_run_and_bench_compares_with_it(flow: Flow, tmp_path):
    run, bundle = shutil.copytree(flow.run, tmp_path / "run"), tmp_path / "bundle"
    (run / "dense.onnx").unlink(missing_ok=True)
    result = call("export", run, bundle, "--abstain-share", 0.5)
    assert result.exit_code == 0, result.stderr
    assert {path.suffix for path in bundle.iterdir()} == {".onnx", ".json", ".npz"}
    assert not (bundle / "dense.onnx").exists()
    assert find_networks(bundle, run)["dense"] == run / "dense.onnx"
    images = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    session = onnxruntime.InferenceSession(run / "dense.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = open_run(run).base()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-4)
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    assert manifest.abstain.share == 0.5
    assert min(manifest.abstain.clean, manifest.abstain.attacked) >= 0.5
    for text in ("answers: temperatures", f"abstained below {manifest.abstain.threshold:.5g}"):
        assert text in result.stdout


def test_a_dense_network_that_is_there_stays_and_that_of_a_bundle_is_taken(flow: Flow, tmp_path):
    from eed_edge.export.dense_network import keep_dense

    run, bundle = shutil.copytree(flow.run, tmp_path / "run"), tmp_path / "bundle"
    bundle.mkdir()
    (run / "dense.onnx").write_bytes(b"there")
    keep_dense(open_run(run), bundle)
    assert (run / "dense.onnx").read_bytes() == b"there"
    (run / "dense.onnx").unlink()
    (bundle / "dense.onnx").write_bytes(b"of the bundle")
    keep_dense(open_run(run), bundle)
    assert (run / "dense.onnx").read_bytes() == b"of the bundle"
