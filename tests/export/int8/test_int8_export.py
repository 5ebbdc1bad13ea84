"""A run exported in int8: the bundle, its gate, what it says of itself, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest
import torch

import eed_edge
from eed_edge import manifest as contract
from eed_edge.export.gate.calib_answers import attack_prefixes, calib_images, member_probs
from eed_edge.export.gate.calibration import MemberProbs, calibrate
from eed_edge.export.int8.quantised_team import OnnxMembers, simulated_team
from eed_edge.export.int8.range_images import RANGE_IMAGES, range_images
from eed_edge.runtime.gates.margins import TIE_TOLERANCES, near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import Run, open_run
from tests.conftest import Flow, call


@pytest.fixture(scope="module")
def files(int8_flow: Flow):
    made = contract.parse_manifest((int8_flow.bundle / "manifest.json").read_bytes())
    return made, [(int8_flow.bundle / entry.file).read_bytes() for entry in made.submodels]


def test_the_manifest_says_int8_and_every_file_is_listed_and_checks(int8_flow: Flow, files):
    made, _ = files
    assert made.precision == "int8"
    assert set(made.files) == {"golden.npz", "dense-int8.onnx", "cascade.onnx"}
    actual = call("check", int8_flow.bundle)
    assert actual.exit_code == 0, actual.output
    assert "(allowed 0.02)" in actual.output


def test_the_digits_bundle_in_int8_answers_as_the_one_in_float(flow: Flow, int8_flow: Flow):
    images = np.ascontiguousarray(open_run(flow.run).calib().images, np.float32) / 255
    before, after = (eed_edge.load(bundle, threshold=2.0) for bundle in (flow.bundle, int8_flow.bundle))
    ties = near_ties(before.member_probs(images), before.rule, before.parameters, tolerance=0.05)
    assert (~ties).sum() >= 5  # the team is hardly trained, on some processors at chance level
    np.testing.assert_array_equal(after(images).labels[~ties], before(images).labels[~ties])


def test_one_image_a_batch_and_the_single_file_give_the_same_answers(int8_flow: Flow):
    images = np.ascontiguousarray(open_run(int8_flow.run).calib().images, np.float32) / 255
    net, file = eed_edge.load(int8_flow.bundle), eed_edge.load(int8_flow.bundle / "cascade.onnx")
    expected = net(images)
    one_by_one = [net(image[None]) for image in images]
    tolerance = TIE_TOLERANCES["int8"]
    decided = ~near_ties(net.member_probs(images), net.rule, net.parameters, tolerance=tolerance)
    assert decided.any()
    for answers in ([file(images)], one_by_one):
        for name in ("labels", "submodels_used"):
            actual = np.concatenate([getattr(answer, name) for answer in answers])
            np.testing.assert_array_equal(actual[decided], getattr(expected, name)[decided])
        probs = np.concatenate([answer.probs for answer in answers])
        np.testing.assert_allclose(probs[decided], expected.probs[decided], atol=tolerance)


def test_the_gate_is_calibrated_on_what_the_int8_files_answer(int8_flow: Flow, files):
    made, models = files
    run = open_run(int8_flow.run)
    images = calib_images(run.calib(), run.recipe.gate)
    members, copies = OnnxMembers(models), simulated_team(models)
    answers = MemberProbs(
        member_probs(members, images.images / 255),
        tuple(member_probs(members, part) for part in attack_prefixes(copies, images, run)),
        images.labels.numpy(),
    )
    expected = calibrate(answers, run.recipe.gate.__class__(steps=3, max_drop=0.5))["confidence"]
    assert made.gate.parameters_of("confidence")["threshold"] == expected.parameters["threshold"]
    assert made.calibration.confidence.lost_attacked == expected.lost_attacked


def test_the_metrics_count_what_differs_from_the_copies(int8_flow: Flow, files):
    made, models = files
    run = open_run(int8_flow.run)
    images = calib_images(run.calib(), run.recipe.gate)
    shown = torch.cat([images.images / 255, *attack_prefixes(run.ensemble(), images, run)])
    parameters = made.gate.parameters_of(made.gate.rule)
    ours, copied, before = (
        replay_rule(member_probs(members, shown), made.gate.rule, parameters)
        for members in (OnnxMembers(models), simulated_team(models), run.ensemble())
    )
    assert made.metrics["int8_images"] == len(shown)
    assert made.metrics["int8_labels_unlike_copy"] == (ours.labels != copied.labels).sum()
    assert made.metrics["int8_stops_unlike_copy"] == (ours.submodels_used != copied.submodels_used).sum()
    unlike_float = (ours.labels != before.labels).sum()  # by the int8 gate; the float bundle has its own
    assert abs(made.metrics["int8_labels_unlike_float"] - unlike_float) <= len(shown) // 4


def test_the_same_run_gives_the_same_bytes(int8_flow: Flow, tmp_path):
    words = ("--int8", "--with-dense-int8", "--single-file", "--max-drop", 0.5)
    assert call("export", int8_flow.run, tmp_path / "again", *words).exit_code == 0
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (int8_flow.bundle, tmp_path / "again")
    )
    assert first == second


def test_the_cascade_has_the_quantised_nodes_of_every_sub_model(int8_flow: Flow, files):
    def count(graph):
        inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return sum(node.op_type == "QuantizeLinear" for node in graph.node) + sum(map(count, inner))

    alone = sum(count(onnx.load_from_string(model).graph) for model in files[1])
    assert count(onnx.load(int8_flow.bundle / "cascade.onnx").graph) == alone > 0


def test_int8_that_loses_too_much_is_refused_and_the_old_bundle_stays(flow: Flow, tmp_path, monkeypatch):
    """The quantiser is made useless: in its wide ranges, what real images give is rounded to nothing.

    The calib images get the labels that the float team gives them, so that it is right at any rate.
    """
    from eed_edge.export.int8 import int8_team

    calib = open_run(flow.run).calib()
    labels = eed_edge.load(flow.bundle, threshold=2.0)(calib.images).labels
    monkeypatch.setattr(Run, "calib", lambda _: dataclasses.replace(calib, labels=labels))
    monkeypatch.setattr(int8_team, "range_images", lambda *_: np.full((1, 1, 8, 8), 1e5, np.float32))
    bundle = shutil.copytree(flow.bundle, tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    actual = call("export", flow.run, bundle, "--int8", "--max-drop", 0.001)
    assert actual.exit_code == 1
    *_, last = actual.output.splitlines()
    assert last.startswith("error: int8 is right on ")
    assert last.endswith("expected at most 0.10%; raise --max-drop or export without --int8")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_ranges_come_from_training_images_clean_and_attacked(flow: Flow):
    run = open_run(flow.run)
    train = splits_for_recipe(run.recipe, None).train
    actual = range_images(run.ensemble(), train, run)
    count = min(RANGE_IMAGES, len(train))
    assert actual.shape == (2 * count, 1, 8, 8)
    known = {image.tobytes() for image in train.images}
    clean, attacked = actual[:count], actual[count:]
    assert {np.rint(image * 255).astype(np.uint8).tobytes() for image in clean} <= known
    apart = np.abs(attacked - clean).reshape(count, -1).max(1)
    eps = run.recipe.base.eps_255 / 255
    assert (apart <= eps + 1e-6).all()
    assert (apart > eps / 2).mean() > 0.9


def test_images_that_the_run_was_not_trained_on_are_refused(flow: Flow, tmp_path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["recipe"]["data"]["limit"] = 250
    (run / "run.json").write_text(json.dumps(record))
    actual = call("export", run, tmp_path / "bundle", "--int8")
    assert actual.exit_code == 1
    assert "was trained on other images; give the same --data" in actual.output
    assert not (tmp_path / "bundle").exists()
