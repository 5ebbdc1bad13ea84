"""Rounding hides gradients: a coarse quantiser fools plain PGD, but not our copies, replay and Square."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import eed_edge
from eed_edge import manifest as contract
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.attacks.square import Square
from eed_edge.evaluate import accuracy, attack_jobs, suites
from eed_edge.evaluate.adaptive.int8_targets import DeployedLogits, int8_targets
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.export.int8.operators import OPERATORS
from eed_edge.export.int8.quantised_team import simulated_team
from eed_edge.train.networks.ensemble import Ensemble
from tests.conftest import Flow, call
from tests.runtime.conftest import make_manifest, npz

SIZE, STEP, EPS = (1, 4, 4), 0.25, 0.2
SIGNS = np.where(np.indices((4, 4)).sum(0) % 2, 1, -1).ravel()  # a chessboard: their sum is 0
WEIGHT = np.stack([0.25 * SIGNS, -0.25 * SIGNS, 0 * SIGNS], axis=1).astype(np.float32)
BIASES = [np.array([0.4, 0.0, -9.0], np.float32), np.array([0.5, 0.0, -9.0], np.float32)]
SUITE = suites.find_suite("quick")


def coarse_file(bias):
    """``logits = round(images / STEP) * STEP @ WEIGHT + bias``."""
    constants = {"step": np.float32(STEP), "zero": np.uint8(0), "weight": WEIGHT, "bias": bias}
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["rounded"]),
        helper.make_node("Flatten", ["rounded"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "coarse",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return made.SerializeToString()


class Unrounded(nn.Module):
    """The network before quantising."""

    def __init__(self, bias) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        self.linear.weight = nn.Parameter(torch.from_numpy(WEIGHT.T.copy()))
        self.linear.bias = nn.Parameter(torch.from_numpy(bias))

    def forward(self, images):
        return self.linear(images.flatten(1))


def plain_rounding(inputs, attributes):
    """What torch does by itself: the gradient of rounding is 0."""
    values, scale, zero = inputs
    return (torch.round(values / scale) + zero).clamp(0, 255)


FILES = [coarse_file(bias) for bias in BIASES]
IMAGES = torch.from_numpy(np.tile((0.5 + 0.05 * SIGNS).reshape(1, *SIZE), (6, 1, 1, 1)).astype(np.float32))
LABELS = torch.zeros(6, dtype=torch.int64)


@pytest.fixture
def deployed(tmp_path):
    """The coarse files as an int8 bundle that runs both of them."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    golden = {"golden.npz": npz(images=np.zeros(1))}
    made = make_manifest(FILES, golden, threshold=2.0, size=SIZE, classes=("a", "b", "c"))
    made = dataclasses.replace(made, precision="int8")
    for entry, data in zip(made.submodels, FILES, strict=True):
        (folder / entry.file).write_bytes(data)
    (folder / "golden.npz").write_bytes(golden["golden.npz"])
    (folder / "manifest.json").write_bytes(contract.dump_manifest(made))
    return eed_edge.load(folder)


@pytest.fixture
def plain_copies(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(OPERATORS, "QuantizeLinear", plain_rounding)
        return simulated_team(FILES)


@pytest.fixture
def before():
    return Ensemble([Unrounded(bias) for bias in BIASES]).eval()


def right_under(models, folder):
    """Dynamic accuracy under PGD-20 and the adaptive list, and after each item of the list by its name."""
    todo = attack_jobs.build_jobs(models, SUITE)
    outcomes = attack_jobs.run_batch(
        todo, models, IMAGES, LABELS, threat=Threat(EPS, 0), folder=folder, step=lambda _: None
    )
    rows = accuracy.accuracies(outcomes, SUITE, singles=["dense"], members=2)
    items = {row["name"]: row["dynamic"] for row in accuracy.adaptive_accuracy(outcomes, todo)["items"]}
    return rows["pgd20"]["dynamic"], rows["adaptive"]["dynamic"], items


def test_a_coarse_quantiser_fools_plain_pgd_and_not_us(deployed, plain_copies, before, tmp_path):
    assert (deployed(IMAGES.numpy()).labels == 0).all()
    hidden = {"dense": plain_copies.prefix(1)}  # so that nothing is transferred from a network with gradients
    plain, overrated, _ = right_under(ModelsCompared(hidden, plain_copies, deployed), tmp_path / "plain")
    assert plain == overrated == 1.0
    ours = ModelsCompared(hidden, simulated_team(FILES), deployed, before)
    pgd20, adaptive, _ = right_under(ours, tmp_path / "ours")
    assert pgd20 == adaptive == 0.0


def test_replay_alone_sees_through_rounding_and_counts_in_the_adaptive_figure(
    deployed, plain_copies, before, tmp_path
):
    models = ModelsCompared({"dense": plain_copies.prefix(1)}, plain_copies, deployed, before)
    plain, adaptive, items = right_under(models, tmp_path)
    assert plain == 1.0
    assert items["rule-aware attack on the deployed rule"] == 1.0
    assert items["APGD on the mean of the first 2 before quantising, replayed"] == 0.0
    assert adaptive == 0.0


def test_square_alone_sees_through_rounding_on_the_files_themselves(deployed, plain_copies):
    threat, target = Threat(EPS, 0), DeployedLogits(deployed)
    assert (deployed(PGD()(plain_copies, IMAGES, LABELS, threat).numpy()).labels == 0).all()
    attacked = Square(queries=300)(target, IMAGES, LABELS, threat)
    assert (deployed(attacked.contiguous().numpy()).labels != 0).all()


def test_a_float_bundle_has_no_further_targets_and_an_int8_one_has_all(deployed, before):
    models = ModelsCompared({"dense": before.prefix(1)}, simulated_team(FILES), deployed)
    assert int8_targets(models) == {}
    both = dataclasses.replace(models, float_members=before)
    assert list(int8_targets(both)) == ["float-1", "float-2", "float_rule", "bundle"]
    probs = DeployedLogits(deployed)(IMAGES).exp()
    np.testing.assert_allclose(probs.numpy(), deployed(IMAGES.numpy()).probs, atol=1e-6)


def test_attack_judges_an_int8_bundle_by_its_files_and_dense_int8_beside_dense(int8_flow: Flow, tmp_path):
    run = shutil.copytree(int8_flow.run, tmp_path / "run")
    (run / "report.json").unlink(missing_ok=True)
    result = call("attack", run, int8_flow.bundle, "--images", 12, "--suite", "quick")
    assert result.exit_code == 0, result.output
    report = json.loads((run / "report.json").read_text())
    names = [item["name"] for item in report["adaptive"]["items"]]
    assert {
        "APGD on the mean of the first 1 before quantising, replayed",
        "rule-aware attack on the rule on the members before quantising, replayed",
        "PGD-20 on the dense base in int8, transferred",
    } <= set(names)
    assert names[-1] == "Square on the deployed int8 files"
    assert "Square, 100 queries" in report["attacks"]["adaptive"]["settings"]
    for row in report["accuracy"].values():
        assert {"dense", "dense_int8", "static", "dynamic"} <= row.keys()
    assert report["precision"] == "int8"
    assert len(report["replay"]["disagreements"]) <= report["replay"]["allowed"]
    assert "dense_int8" in result.output
