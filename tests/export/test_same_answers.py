"""The same answers from many files and one, in any batch and with any threads, on all of sklearn's digits."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import eed_edge
from eed_edge import manifest as contract
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.export.network_graph import to_onnx
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.gates.margins import near_ties
from tests.runtime.conftest import make_manifest, npz

IMAGES = load_digits().images[:, None].astype(np.float32) / 16  # 1,797 real images
RULES = [
    ("confidence", {"threshold": 0.55, "thresholds": (0.6, 0.5, 0.7)}),
    ("agreement", {"votes": 3}),
    ("geometric", {"g": 2.0, "k": 1.0}),
]


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    """Four nets that learned a little, each from other digits."""
    made = []
    images, labels = torch.from_numpy(IMAGES), torch.from_numpy(load_digits().target)
    for member in range(4):
        with torch.random.fork_rng():
            torch.manual_seed(member)
            layers = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU()
            net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 9, 10))
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(12):
            loss = nn.functional.cross_entropy(net(images[member::8]), labels[member::8])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        made.append(to_onnx(net, images[:1]))
    return made


@pytest.fixture(params=RULES, ids=[rule for rule, _ in RULES])
def folder(request, models, tmp_path):
    """A bundle with a single file inside."""
    rule, parameters = request.param
    files = {"golden.npz": npz(labels=np.zeros(0, np.int64))}
    manifest = make_manifest(models, files, rule=rule, size=(1, 8, 8), classes=tuple("0123456789"))
    changed = dataclasses.replace(
        manifest.gate.parameters, **{rule: GATE_RULES[rule].parameters_type(**parameters)}
    )
    manifest = dataclasses.replace(
        manifest,
        gate=dataclasses.replace(manifest.gate, parameters=changed),
        temperatures=(0.4, 0.7, 1.5, 0.3),
        abstain=contract.Abstain(0.9, 0.9, 0.9, 0.9),
    )
    files["cascade.onnx"] = to_cascade(models, manifest)
    entries = {
        name: contract.FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for entry, model in zip(manifest.submodels, models, strict=True):
        (tmp_path / entry.file).write_bytes(model)
    (tmp_path / "manifest.json").write_bytes(
        contract.dump_manifest(dataclasses.replace(manifest, files=entries))
    )
    assert json.loads((tmp_path / "manifest.json").read_bytes())["gate"]["rule"] == rule
    return tmp_path


def in_batches(net, size):
    parts = [net(IMAGES[at : at + size]) for at in range(0, len(IMAGES), size)]
    return [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "submodels_used", "probs", "abstained")
    ]


WAYS = {
    "separate files, batches of 7": (lambda folder: eed_edge.load(folder), 7),
    "separate files, one batch": (lambda folder: eed_edge.load(folder), 5000),
    "separate files, two threads": (lambda folder: eed_edge.load(folder, threads=2), 1),
    "separate files, four threads, batches of 64": (
        lambda folder: eed_edge.load(folder, threads=4, arena=False),
        64,
    ),
    "one file, one by one": (lambda folder: eed_edge.load(folder / "cascade.onnx"), 1),
    "one file, batches of 100": (lambda folder: eed_edge.load(folder / "cascade.onnx"), 100),
    "one file, two threads": (lambda folder: eed_edge.load(folder / "cascade.onnx", threads=2), 1797),
}


def test_every_way_to_run_gives_the_same_answers(folder):
    alone = eed_edge.load(folder)
    labels, used, probs, abstained = in_batches(alone, 1)
    assert len(set(used.tolist())) > 1
    ties = near_ties(alone.member_probs(IMAGES), alone.rule, alone.parameters)
    assert ties.sum() <= 2
    near = ties | (np.abs(probs.max(1) - 0.9) < 1e-5)
    for way, (open_net, size) in WAYS.items():
        actual = in_batches(open_net(folder), size)
        for name, expected, got in zip(("labels", "submodels_used"), (labels, used), actual, strict=False):
            differ = np.flatnonzero((expected != got) & ~ties)
            assert not len(differ), f"{way}: {name} of images {differ}"
        np.testing.assert_array_equal(actual[3][~near], abstained[~near], err_msg=way)
        np.testing.assert_allclose(actual[2][~ties], probs[~ties], atol=1e-5, rtol=0, err_msg=way)
