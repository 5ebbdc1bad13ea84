"""A tiny bundle of linear models, whose answers numpy can work out by itself."""

import hashlib
import io

import numpy as np
import pytest

from eed_edge import manifest as contract
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.engine.single_image import Submodel
from eed_edge.runtime.gates.replay import replay_rule
from tests.runtime import tiny_onnx

SIZE, CLASSES = (3, 4, 4), ("cat", "dog", "owl")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def entry(data):
    return contract.FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def make_manifest(
    models, files, *, rule="confidence", threshold=0.6, size=SIZE, classes=CLASSES, metrics=None, **gate
):
    loss = contract.RuleLoss(0.0, 0.0, 0.01, 1.0)
    parameters = contract.GateParameters(
        Confidence(threshold), Agreement(min(2, len(models))), Geometric(1.0, 1.0)
    )
    return contract.Manifest(
        name="tiny",
        created_by=contract.CreatedBy("eed-edge", "0.1.0"),
        classes=classes,
        input=contract.InputSpec(
            name="images",
            shape=("N", *size),
            channels="RGB" if size[0] == 3 else "L",
            preprocess=contract.Preprocess(),
        ),
        submodels=tuple(
            contract.SubmodelEntry(
                f"submodel-{i}.onnx", hashlib.sha256(data).hexdigest(), len(data), 147, 144, "nis", i
            )
            for i, data in enumerate(models)
        ),
        gate=contract.GateSpec(rule, parameters, **gate),
        calibration=contract.Calibration(10, "pgd20", 0.005, False, loss, loss, loss),
        files={name: entry(data) for name, data in files.items()},
        metrics=metrics,
    )


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


class Tiny:
    """A bundle folder and the truth about it."""

    def __init__(self, folder, *, members=3, last=None, models=None, files=None, seed=0, golden=None, **gate):
        rng = np.random.default_rng(seed)
        self.folder = folder
        self.weights = rng.normal(0, 0.4, (members, 48, 3)).astype(np.float32)
        self.biases = -self.weights.sum(1) / 2  # so that no class is the favourite
        self.images = rng.random((20, *SIZE), np.float32)
        last = last or {}
        self.models = [
            tiny_onnx.linear(w, b, last=last.get(i, ()))
            for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True))
        ]
        for index, model in (models or {}).items():
            self.models[index] = model
        rule, self.files = gate.get("rule", "confidence"), dict(files or {})
        parameters = {"confidence": {"threshold": gate.get("threshold", 0.6)}, "agreement": {"votes": 2}}
        answer = replay_rule(self.probs, rule, parameters.get(rule, {"g": 1.0, "k": 1.0}))
        arrays = {
            "images": self.images,
            "probs": answer.probs,
            "labels": answer.labels,
            "submodels_used": answer.submodels_used,
        }
        self.files["golden.npz"] = npz(**{**arrays, **(golden or {})})
        self.manifest = make_manifest(self.models, self.files, **gate)
        self.write()

    @property
    def probs(self):
        """``(members, 20, 3)`` by numpy alone."""
        flat = self.images.reshape(len(self.images), -1)
        return softmax(flat @ self.weights + self.biases[:, None])

    def write(self):
        self.folder.mkdir(exist_ok=True)
        for model, made in zip(self.models, self.manifest.submodels, strict=True):
            (self.folder / made.file).write_bytes(model)
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)
        (self.folder / "manifest.json").write_bytes(contract.dump_manifest(self.manifest))


def models_answering(members, classes, *, last=tiny_onnx.NAN_AT_0, more=()):
    """Real models and their manifest: the logits of sub-model t are 8 times row t of the image, exactly.

    Images are ``(n, 1, members, classes)``; a pixel of 0 makes that sub-model fail on that image.
    """
    size = (1, members, classes)
    models = []
    for t in range(members):
        picks = np.zeros((members, classes, classes))
        picks[t] = 8 * np.eye(classes)
        models.append(
            tiny_onnx.linear(picks.reshape(-1, classes), np.zeros(classes), size=size, last=last, more=more)
        )
    names = tuple(map(str, range(classes)))
    return models, make_manifest(models, {"golden.npz": b""}, size=size, classes=names)


def cascade_answering(
    members, classes, *, rule, parameters, max_submodels=None, last=None, more=(), **settings
):
    """A cascade of ``models_answering``."""
    models, manifest = models_answering(members, classes, last=last or tiny_onnx.NAN_AT_0, more=more)
    return Cascade(
        manifest,
        [Submodel(open_session(model, "x"), "logits") for model in models],
        rule=rule,
        parameters=parameters,
        max_submodels=max_submodels or members,
        **settings,
    )


def as_images(probs):
    """What ``cascade_answering`` is to say, ``(members, n, k)`` in [0, 1], as images."""
    return np.ascontiguousarray(probs.swapaxes(0, 1)[:, None], np.float32)


@pytest.fixture
def make_tiny(tmp_path):
    def make(**settings):
        return Tiny(tmp_path / "bundle", **settings)

    return make


@pytest.fixture
def tiny(make_tiny):
    return make_tiny()
