"""The flow as a user runs it: train, export, check, run, attack, bench, report, and being killed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eed_edge
from eed_edge import manifest
from eed_edge.train.run_folder import open_run
from tests.conftest import TINY, Flow, call, succeed


def networks_of(run: Path) -> dict[str, str]:
    """Digests of all weight files, to the last byte."""
    files = [run / "base.safetensors", *run.glob("pool/*.safetensors"), *run.glob("joint/*.safetensors")]
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_training_leaves_base_pool_selection_members_and_a_line_per_epoch(flow: Flow):
    names = {path.name for path in (flow.run / "pool").glob("*.safetensors")}
    expected = {
        f"{score}-{subset}{which}.safetensors"
        for score in ("erm", "ase")
        for subset in (0, 1)
        for which in ("", "-last")
    }
    assert names == expected
    assert not list(flow.run.rglob("*.state")) + list(flow.run.rglob("*.pruned"))
    rows = [json.loads(line) for line in (flow.run / "log.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["base"] * 2 + ["pool"] * 4 + ["joint"] * 2
    assert all({"loss", "clean", "attacked", "lr", "images_s", "seconds"} <= row.keys() for row in rows)
    by_size = json.loads((flow.run / "selection.json").read_text())["rd_by_size"]
    assert [(row["size"], row["teams"]) for row in by_size] == [(2, 6), (3, 4), (4, 1)]


def test_every_width_of_every_member_is_a_multiple_of_eight(flow: Flow):
    for net, record in open_run(flow.run).members():
        assert all(width % 8 == 0 for width in record["pruning"]["widths"].values())
        convolutions = [t for name, t in net.state_dict().items() if t.dim() == 4 and "normalise" not in name]
        assert all(tensor.shape[0] % 8 == 0 for tensor in convolutions)


def test_the_team_keeps_its_budget_of_parameters_and_macs(flow: Flow):
    from eed_edge.evaluate.metrics.model_cost import costs

    run = open_run(flow.run)
    actual = costs(run.base(), manifest.parse_manifest((flow.bundle / "manifest.json").read_bytes()))
    assert actual["sparsity"] >= run.recipe.prune.sparsity
    for net, _ in run.members():
        assert sum(p.numel() for p in net.parameters()) in actual["cost"]["params"]["each"]


def test_the_bundle_checks_and_answers_a_picture(flow: Flow, tmp_path: Path):
    assert call("check", flow.bundle).exit_code == 0
    digit = np.load(flow.run / "calib.npz")["images"][0, :, :, 0]
    Image.fromarray(digit).resize((40, 40)).save(tmp_path / "digit.png")
    result = call("run", flow.bundle, tmp_path / "digit.png", "--json")
    answer = json.loads(result.output)
    assert answer["class"] in "0123456789"
    assert 1 <= answer["submodels_used"] <= 2


def test_the_exported_cascade_answers_as_the_networks_in_torch(flow: Flow):
    import torch

    from eed_edge.runtime.gates.margins import near_ties
    from eed_edge.runtime.gates.replay import replay_rule

    run, net = open_run(flow.run), eed_edge.load(flow.bundle)
    images = torch.from_numpy(run.calib().images).float() / 255
    with torch.no_grad():
        probs = run.ensemble().member_logits(images).softmax(2).numpy()
    expected = replay_rule(probs, net.rule, net.parameters)
    actual = net(images.numpy())
    np.testing.assert_allclose(net.member_probs(images.numpy()), probs, atol=1e-5)
    # Two hardly trained members may both be wholly sure, of different classes: such ties are no answers.
    decided = ~near_ties(probs, net.rule, net.parameters)
    assert decided.any()
    np.testing.assert_array_equal(actual.labels[decided], expected.labels[decided])
    np.testing.assert_array_equal(actual.submodels_used[decided], expected.submodels_used[decided])


def test_the_single_file_answers_as_the_bundle(flow: Flow):
    import onnxruntime

    images = open_run(flow.run).calib().images.astype(np.float32) / 255
    session = onnxruntime.InferenceSession(flow.bundle / "cascade.onnx", providers=["CPUExecutionProvider"])
    probs, used = session.run(["probabilities", "submodels_used"], {"images": images})
    expected = eed_edge.load(flow.bundle)(images)
    np.testing.assert_allclose(probs, expected.probs, atol=1e-5)
    np.testing.assert_array_equal(used, expected.submodels_used)


def test_attack_bench_and_report_fill_the_report_and_print_it(attacked_flow: Flow):
    run, bundle = attacked_flow
    succeed("bench", bundle, "--run", run, "--repeats", 1)
    report = json.loads((run / "report.json").read_text())
    rows = report["accuracy"]
    assert rows["pgd20"]["images"] == 20
    assert rows["pgd20"]["dynamic"] <= rows["clean"]["dynamic"]
    low, high = rows["pgd20"]["interval"]["dense"]
    assert low <= rows["pgd20"]["dense"] <= high
    assert report["latency"]["speedup_mean"] > 0
    assert report["rd"] == open_run(run).joint()["rd"]
    assert "pgd20" in call("report", run, bundle).output


def test_training_again_does_nothing_and_another_recipe_is_refused(flow: Flow):
    before = {path: path.stat().st_mtime_ns for path in flow.run.rglob("*.safetensors")}
    assert call("train", TINY, "--run", flow.run).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in flow.run.rglob("*.safetensors")} == before
    result = call("train", TINY, "--run", flow.run, "--set", "base.epochs=3")
    assert result.exit_code == 1
    assert "another recipe (base.epochs is 2 there and 3 here)" in result.output


def test_what_fails_at_the_start_leaves_no_run_and_unused_parts_of_a_recipe_may_change(tmp_path: Path):
    run = tmp_path / "run"
    assert call("train", TINY, "--run", run, "--set", "net.arch=no_such_module:f").exit_code == 1
    assert not run.exists()
    assert call("train", TINY, "--run", run, "--until", "base").exit_code == 0
    changed = call("train", TINY, "--run", run, "--until", "base", "--set", "joint.epochs=3")
    assert changed.exit_code == 0, changed.output
    assert open_run(run).recipe.joint.epochs == 3
    assert "base.lr is" in call("train", TINY, "--run", run, "--set", "base.lr=0.01").output


def test_exporting_the_same_run_from_another_folder_gives_the_same_bytes(flow: Flow, tmp_path: Path):
    moved = shutil.copytree(flow.run, tmp_path / "elsewhere")
    command = [
        sys.executable,
        "-m",
        "eed_edge",
        "export",
        str(moved),
        "other",
        "--with-dense",
        "--single-file",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    first, second = (
        {path.name: path.read_bytes() for path in bundle.iterdir()}
        for bundle in (flow.bundle, tmp_path / "other")
    )
    assert first == second


# Checkpoint after every epoch, so that there is something half done to be killed at.
HURRY = """
from eed_edge.train import checkpointing
checkpointing.AFTER_EPOCH_S = -1
from eed_edge.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # five trainings one after another, on a busy machine too
def test_a_run_killed_in_every_stage_ends_as_an_unbroken_one(flow: Flow, tmp_path: Path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", HURRY, "train", str(TINY), "--run", str(run)]
    for moment in ("base.state", "pool/erm-1.pruned", "selection.json", "joint.state"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 150
        while not (run / moment).exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (run / "joint.json").exists()
    succeed("train", TINY, "--run", run)
    assert networks_of(run) == networks_of(flow.run)
