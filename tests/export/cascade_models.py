"""Networks that are sure of some images and not of others, and the manifest of a single file of them."""

import dataclasses

import numpy as np
import onnxruntime

import eed_edge
from eed_edge import manifest as contract
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.gate_rules.rule_registry import GATE_RULES

MEMBERS, CLASSES = 4, 5
IMAGES = np.random.default_rng(0).random((120, 3, 8, 8), np.float32)


def run(model: bytes, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[:2]


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
                **{name: GATE_RULES[name].parameters_type(**each) for name, each in every.items()}
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


def with_gate(
    manifest: contract.Manifest, rule: str, parameters: dict[str, float], **gate
) -> contract.Manifest:
    return dataclasses.replace(manifest, gate=manifest_of(rule, parameters, **gate).gate)


def single_file(path, models, manifest):
    path.write_bytes(to_cascade(models, manifest))
    return eed_edge.load(path)
