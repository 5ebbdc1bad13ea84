"""Bundles for the page whose answers are many: every rule, failures, temperatures, other sizes and names."""

import dataclasses
import hashlib

import numpy as np

from eed_edge import manifest as contract
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from tests.runtime import tiny_onnx
from tests.runtime.conftest import make_manifest, models_answering, npz

MEMBERS, CLASSES = 4, 6
HOSTILE = ("<img src=x onerror=alert(1)>", "__proto__", 'owl "&" \u202eowl')


def write(folder, models, manifest, images):
    """A bundle whose golden images are these; its answers are not true, and not read."""
    count, classes = len(images), len(manifest.classes)
    golden = npz(
        images=images,
        probs=np.full((count, classes), 1 / classes, np.float32),
        labels=np.zeros(count, np.int64),
        submodels_used=np.ones(count, np.int64),
    )
    entry = contract.FileEntry(hashlib.sha256(golden).hexdigest(), len(golden))
    manifest = dataclasses.replace(manifest, files={"golden.npz": entry})
    folder.mkdir()
    for model, made in zip(models, manifest.submodels, strict=True):
        (folder / made.file).write_bytes(model)
    (folder / "golden.npz").write_bytes(golden)
    (folder / "manifest.json").write_bytes(contract.dump_manifest(manifest))
    return folder


def bundle_answering(folder, *, rule="confidence", count=40):
    """Sub-models that say what a row of the image says; a pixel of 0 makes one fail. Schema 2, all of it."""
    rng = np.random.default_rng(1)
    images = rng.random((count, 1, MEMBERS, CLASSES)).astype(np.float32)
    images[rng.random((count, 1, MEMBERS)) < 0.15, 0] = 0  # that sub-model fails for this image
    images[(images[:, 0, :, 0] == 0).all(axis=1)] = 0.5
    models, manifest = models_answering(MEMBERS, CLASSES)
    parameters = contract.GateParameters(Confidence(0.7, (0.8, 0.7, 0.6)), Agreement(2), Geometric(1.5, 0.8))
    return write(
        folder,
        models,
        dataclasses.replace(
            manifest,
            gate=contract.GateSpec(rule, parameters),
            temperatures=(0.5, 0.8, 1.3, 2.0),
            abstain=contract.Abstain(0.6, 0.95, 0.95, 0.95),
        ),
        images,
    )


def bundle_of_large_pictures(folder, *, count=3, size=(3, 160, 128)):
    """Colour pictures whose shorter side is scaled before the middle is cut out, and names to deceive."""
    rng = np.random.default_rng(2)
    images = rng.random((count, *size)).astype(np.float32)
    weights = rng.normal(0, 0.02, (2, int(np.prod(size)), 3))
    models = [tiny_onnx.linear(each, -each.sum(0) / 2, size=size) for each in weights]
    manifest = make_manifest(models, {"golden.npz": b""}, size=size, classes=HOSTILE)
    preprocess = contract.Preprocess(crop=size[1:], interpolation="bicubic", alpha="white", shorter_side=176)
    spec = dataclasses.replace(manifest.input, preprocess=preprocess)
    return write(folder, models, dataclasses.replace(manifest, name="<b>large</b>", input=spec), images)
