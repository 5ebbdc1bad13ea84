"""A team to time: a CIFAR-sized ResNet-18 with random weights and four pruned members of 5 %.

Nothing is trained. Batch norms are set on real pictures, and each member's last layer is scaled so that half
of the pictures that reach it stop there.
"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

import eed_edge
from eed_edge import manifest as contract
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.export.network_graph import to_onnx
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.images.npz import read_npz
from eed_edge.prune import groups, removal, score_search
from eed_edge.prune import widths as widths_of
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.importance import SCORES
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build as nets
from eed_edge.train.networks.build import Classifier

Floats = NDArray[np.float32]
SIZE, CLASSES, WIDTH, MEMBER_SHARE, ROUND_TO, MEMBERS = (3, 32, 32), 10, 64, 0.05, 8, 4
SURE = 0.4
"""Confidence at which half of the pictures stop at each stage."""
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "one": ("confidence", {"threshold": 0.0}),
    "confidence": ("confidence", {"threshold": 2.0}),
    "agreement": ("agreement", {"votes": 4}),
    "geometric": ("geometric", {"g": 50.0, "k": 1.0}),
    "mixed confidence": ("confidence", {"threshold": SURE}),
    "mixed agreement": ("agreement", {"votes": 2}),
    "mixed geometric": ("geometric", {"g": 1.0, "k": 1.0}),
}
"""Gates that stop everything at the first sub-model, nothing before the fourth, or each image by itself."""


def pictures(npz: Path | None, count: int) -> Floats:
    """Real images ``(n, 3, 32, 32)`` in [0, 1]: of an NPZ file, or digits four times as large."""
    if npz is not None:
        return np.ascontiguousarray(read_npz(npz)[0][:count].transpose(0, 3, 1, 2) / np.float32(255))
    digits = load_digits().images[:count, None].astype(np.float32) / 16  # (n, 1, 8, 8)
    return np.ascontiguousarray(digits.repeat(4, 2).repeat(4, 3).repeat(3, 1))


def base(images: Floats, *, seed: int) -> Classifier:
    """The dense network; the same for the same images and seed."""
    net = nets.build_network("resnet18", classes=CLASSES, channels=3, width=WIDTH, seed=seed)
    removal.recalibrate(net, _data(images), batch=64)
    return net


def _data(images: Floats) -> Images:
    examples = torch.from_numpy(images[:256])
    return Images((examples * 255).byte(), torch.arange(len(examples)) % CLASSES)


def build(folder: Path, images: Floats, *, seed: int) -> dict[str, Any]:
    """Write ``bundle/``, ``dense.onnx`` and, for each gate that is timed, a folder with its ``cascade.onnx``.

    Returns:
        ``{params, macs: {dense, each}, widths, stopping}``.
    """
    examples = torch.from_numpy(images[:256])
    dense = base(images, seed=seed)
    members, widths = _members(dense, _data(images))
    stopping = _calibrate(members, examples)
    example = examples[:1]
    models = [to_onnx(net, example) for net in members]
    costs = [count_cost(net, example) for net in members]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dense.onnx").write_bytes(to_onnx(dense, example))
    made = write_folder(folder / "bundle", models, costs)
    for name, gate in gates(made).items():
        model = to_cascade(models, dataclasses.replace(made, gate=gate))
        (folder / name).mkdir(exist_ok=True)
        (folder / name / contract.CASCADE_FILE).write_bytes(model)
    params, macs = count_cost(dense, example)
    return {
        "params": {"dense": params, "each": [params for params, _ in costs]},
        "macs": {"dense": macs, "each": [macs for _, macs in costs]},
        "widths": widths,
        "stopping": stopping,
    }


def write_folder(
    bundle: Path,
    models: Sequence[bytes],
    costs: Sequence[tuple[int, int]],
    *,
    precision: contract.Precision = "float32",
) -> contract.Manifest:
    """Write a bundle of these sub-models, and return its manifest."""
    made = dataclasses.replace(manifest(models, costs), precision=precision)
    bundle.mkdir(exist_ok=True)
    for entry, model in zip(made.submodels, models, strict=True):
        (bundle / entry.file).write_bytes(model)
    (bundle / contract.GOLDEN_FILE).write_bytes(_golden())
    (bundle / contract.MANIFEST_FILE).write_bytes(contract.dump_manifest(made))
    return made


def gates(made: contract.Manifest) -> dict[str, contract.GateSpec]:
    """Each gate that is timed or compared, by name, as ``RULES`` says."""
    return {
        name: dataclasses.replace(
            made.gate,
            rule=rule,  # type: ignore[arg-type]
            parameters=dataclasses.replace(
                made.gate.parameters, **{rule: GATE_RULES[rule].parameters_type(**parameters)}
            ),
        )
        for name, (rule, parameters) in RULES.items()
    }


def _members(dense: Classifier, data: Images) -> tuple[list[Classifier], list[list[int]]]:
    """One member for each importance score, all of the same widths."""
    example = data.images[:1].float() / 255
    structure = groups.analyse(dense, example)
    params, macs = count_cost(dense, example)
    budget = widths_of.Budget(MEMBER_SHARE * params, MEMBER_SHARE * macs)
    members, widths = [], []
    for score in list(SCORES)[:MEMBERS]:
        importance = SCORES[score](dense, structure, data.images[:64].float() / 255, data.labels[:64])
        choice = score_search.uniform(structure, importance, member_share=MEMBER_SHARE)
        channels = widths_of.choose_widths(structure, choice.keep_ratio, budget, round_to=ROUND_TO)
        member = removal.remove_channels(dense, structure, choice, channels)
        removal.recalibrate(member, data, batch=64)
        members.append(member)
        widths.append(list(channels.values()))
    return members, widths


def _calibrate(members: Sequence[Classifier], images: Tensor) -> list[int]:
    """Scale the last layers so that half of the images left stop; how many stop at each member."""
    total, left, stopped = torch.zeros(len(images), CLASSES), torch.ones(len(images), dtype=torch.bool), []
    for t, net in enumerate(members, 1):
        with torch.no_grad():
            logits = net.eval()(images)
            centre, spread = logits.mean(0), logits.std()
            low, high = 0.0, 200.0
            for _ in range(40):
                scale = (low + high) / 2
                mean = (total + ((logits - centre) * scale / spread).softmax(1)) / t
                many = (mean.amax(1) >= SURE)[left].float().mean() >= 0.5
                low, high = (low, scale) if many else (scale, high)
            classify: Any = net.body.classify
            classify.weight *= high / spread
            classify.bias.copy_((classify.bias - centre) * high / spread)
            total += net(images).softmax(1)
        stop = left & ((total / t).amax(1) >= SURE)
        stopped.append(int(left.sum()) if t == len(members) else int(stop.sum()))
        left &= ~stop
    return stopped


def manifest(models: Sequence[bytes], costs: Sequence[tuple[int, int]]) -> contract.Manifest:
    """The manifest of a bundle of these sub-models with ``_golden`` beside them."""
    loss = contract.RuleLoss(0.0, 0.0, 0.0, 1.0)
    golden = _golden()
    return contract.Manifest(
        name="random-resnet18",
        created_by=contract.CreatedBy("benchmarks", eed_edge.__version__),
        classes=tuple(map(str, range(CLASSES))),
        input=contract.InputSpec(
            name="images", shape=("N", *SIZE), channels="RGB", preprocess=contract.Preprocess()
        ),
        submodels=tuple(
            contract.SubmodelEntry(
                f"submodel-{i}.onnx", hashlib.sha256(model).hexdigest(), len(model), *cost, score, 0
            )
            for i, (model, cost, score) in enumerate(zip(models, costs, SCORES, strict=False))
        ),
        gate=contract.GateSpec(
            "confidence",
            contract.GateParameters(Confidence(SURE), Agreement(len(models)), Geometric(1.0, 1.0)),
        ),
        calibration=contract.Calibration(0, "none", 0.0, False, loss, loss, loss),
        files={contract.GOLDEN_FILE: contract.FileEntry(hashlib.sha256(golden).hexdigest(), len(golden))},
    )


def _golden() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, labels=np.zeros(0, np.int64))
    return stream.getvalue()
