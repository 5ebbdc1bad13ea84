"""The single file answers as the bundle it was made of, for every rule and any batch."""

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch

import eed_edge
from eed_edge import manifest as contract
from eed_edge.errors import BundleError, InputError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.export.graph import to_onnx
from eed_edge.runtime.gating import replay
from eed_edge.train import nets

MEMBERS, CLASSES = 4, 5
IMAGES = np.random.default_rng(0).random((120, 3, 8, 8), np.float32)


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    """Members that are sure of some images and not of others."""
    made = []
    for seed in range(MEMBERS):
        net = nets.build("resnet18", classes=CLASSES, channels=3, width=4, seed=seed)
        net.body.classify.weight.data.mul_(80)
        with torch.no_grad():
            for _ in range(20):
                net.train()(torch.from_numpy(IMAGES))
            net.body.classify.bias.data -= net.eval()(torch.from_numpy(IMAGES)).mean(0)
        made.append(to_onnx(net.eval(), torch.from_numpy(IMAGES[:1])))
    return made


@pytest.fixture(scope="module")
def probs(models) -> np.ndarray:
    logits = [run(model, IMAGES)[0] for model in models]
    powers = np.exp(np.stack(logits))
    return (powers / powers.sum(2, keepdims=True)).astype(np.float32)


def run(model: bytes, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def manifest_of(rule: str, parameters: dict[str, float], **gate) -> contract.Manifest:
    every = {"confidence": {"threshold": 0.5}, "agreement": {"votes": 2}, "geometric": {"g": 1.0, "k": 1.0}}
    every[rule] = parameters
    loss = contract.RuleLoss(0.0, 0.0, 0.0, 1.0)
    entry = contract.SubmodelEntry("submodel-0.onnx", "1" * 64, 1, 1, 1, "erm", 0)
    return contract.Manifest(
        name="tiny",
        created_by=contract.CreatedBy("eed-edge", eed_edge.__version__),
        classes=tuple("abcde"),
        input=contract.InputSpec(
            name="images", shape=("N", 3, 8, 8), channels="RGB", preprocess=contract.Preprocess()
        ),
        submodels=tuple(dataclasses.replace(entry, file=f"submodel-{i}.onnx") for i in range(MEMBERS)),
        gate=contract.GateSpec(
            rule,
            contract.GateParameters(
                contract.Confidence(**every["confidence"]),
                contract.Agreement(**every["agreement"]),
                contract.Geometric(**every["geometric"]),
            ),
            **gate,
        ),
        calibration=contract.Calibration(1, "none", 0.0, False, loss, loss, loss),
        files={"golden.npz": contract.FileEntry("1" * 64, 1)},
    )


CASES = [
    ("confidence", {"threshold": 0.6}),
    ("confidence", {"threshold": 2.0}),
    ("agreement", {"votes": 2}),
    ("agreement", {"votes": 3}),
    ("geometric", {"g": 1.0, "k": 1.0}),
    ("geometric", {"g": 4.0, "k": 0.0}),
]


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [None, 2])
def test_the_single_file_decides_as_the_rule_does_on_the_same_probabilities(
    models, probs, rule, parameters, cap
):
    model = to_cascade(models, manifest_of(rule, parameters, max_submodels=cap))
    found, used = run(model, IMAGES)
    wanted = replay(probs, rule, parameters, max_submodels=cap)
    np.testing.assert_array_equal(used, wanted.submodels_used)
    np.testing.assert_array_equal(found.argmax(1), wanted.labels)
    np.testing.assert_allclose(found, wanted.probs, atol=1e-5)


def test_some_images_stop_early_and_some_do_not(models, probs):
    used = replay(probs, "confidence", {"threshold": 0.6}).submodels_used
    assert set(used.tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize(("rule", "parameters"), CASES[::2])
def test_answers_do_not_depend_on_the_batch(models, rule, parameters):
    model = to_cascade(models, manifest_of(rule, parameters))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"images": IMAGES[:20]})
    for i in range(20):
        one = session.run(None, {"images": IMAGES[i : i + 1]})
        np.testing.assert_allclose(one[0], whole[0][i : i + 1], atol=1e-5)
        assert one[1].tolist() == whole[1][i : i + 1].tolist()


def test_an_empty_batch_has_an_empty_answer(models):
    found, used = run(to_cascade(models, manifest_of("confidence", {"threshold": 0.6})), IMAGES[:0])
    assert (found.shape, used.shape) == ((0, CLASSES), (0,))


def test_the_file_names_its_classes_and_its_gate(models):
    model = to_cascade(models, manifest_of("confidence", {"threshold": 0.6}))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    assert texts["eed_edge.classes"] == '["a", "b", "c", "d", "e"]'
    assert contract.parse(texts["eed_edge.manifest"].encode()).gate.parameters.confidence.threshold == 0.6


def test_the_file_alone_is_loaded_and_answers_as_the_rule_does(models, probs, tmp_path):
    path = tmp_path / "cascade.onnx"
    path.write_bytes(to_cascade(models, manifest_of("geometric", {"g": 1.0, "k": 1.0})))
    net = eed_edge.load(path)
    many = np.concatenate([IMAGES, IMAGES])
    wanted = replay(np.concatenate([probs, probs], 1), "geometric", {"g": 1.0, "k": 1.0})
    found = net(many)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_array_equal(found.submodels_used, wanted.submodels_used)
    assert len(net(IMAGES[:0]).labels) == 0
    assert net.manifest.classes == tuple("abcde")


@pytest.mark.parametrize(
    ("images", "message"),
    [(IMAGES[0], "add a batch axis"), (IMAGES * 2, r"pixels in \[0, 1\]"), (IMAGES[:, :1], "resize")],
)
def test_the_file_refuses_images_as_a_bundle_does(models, tmp_path, images, message):
    (tmp_path / "cascade.onnx").write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    with pytest.raises(InputError, match=message):
        eed_edge.load(tmp_path / "cascade.onnx")(images)


def test_settings_that_the_file_fixes_and_files_of_others_are_refused(models, tmp_path):
    (tmp_path / "cascade.onnx").write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    with pytest.raises(InputError, match="max_submodels is fixed inside a single file"):
        eed_edge.load(tmp_path / "cascade.onnx", max_submodels=1)
    (tmp_path / "other.onnx").write_bytes(models[0])
    with pytest.raises(BundleError, match=r"expected the metadata eed_edge\.manifest"):
        eed_edge.load(tmp_path / "other.onnx")
    (tmp_path / "cut.onnx").write_bytes(models[0][: len(models[0]) // 2])
    with pytest.raises(BundleError):
        eed_edge.load(tmp_path / "cut.onnx")
