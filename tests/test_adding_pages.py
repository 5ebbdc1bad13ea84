"""The examples of docs/adding-*.md run, and what they add keeps to the contract of its kind."""

import re
from pathlib import Path

import pytest
import torch

from eed_edge.attacks.interface import Threat
from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import SCORES
from eed_edge.recipe import Data
from eed_edge.train.data.splits import DATASETS, load_splits
from eed_edge.train.networks.build import ARCHITECTURES, build_network
from tests.attacks.linear import classifier

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("score", "data-set", "attack", "architecture")
ELSEWHERE = ("gate-rule",)  # tests/test_added_gate_rule.py


def added(page: str) -> dict:
    """What the page's example defines, after it has run."""
    (path,) = DOCS.glob(f"adding-a*-{page}.md")
    (code,) = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    names: dict = {"__name__": "example"}
    exec(compile(code, str(path), "exec"), names)
    return names


@pytest.fixture(autouse=True)
def registries_as_they_were(monkeypatch):
    for registry in (SCORES, DATASETS, ARCHITECTURES):
        for name in ("magnitude", "stripes", "small-cnn"):
            monkeypatch.delitem(registry, name, raising=False)
    yield
    for registry in (SCORES, DATASETS, ARCHITECTURES):
        for name in ("magnitude", "stripes", "small-cnn"):
            registry.pop(name, None)


def test_every_page_is_tested():
    pages = {re.sub(r"adding-an?-", "", path.stem) for path in DOCS.glob("adding-*.md")}
    assert pages == {*PAGES, *ELSEWHERE}


def test_the_added_score_ranks_channels_by_their_weights():
    added("score")
    net = build_network("resnet18", classes=3, channels=1, width=8)
    structure = analyse(net, torch.rand(1, 1, 8, 8))
    importance = SCORES["magnitude"](net, structure, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    for group in structure.groups:
        score = importance(group)
        assert score.shape == (group.channels,)
        assert (score > 0).all()


def test_the_added_data_set_is_divided_as_any_other():
    added("data-set")
    splits = load_splits(Data(name="stripes", size=8, tune=0.2, calib=0.2, test=0.25), None, seed=0)
    assert splits.classes == ("horizontal", "vertical")
    assert len(splits.test) == 100
    assert len(splits.train) + len(splits.tune) + len(splits.calib) == 300


def test_the_added_architecture_is_a_classifier():
    added("architecture")
    net = build_network("small-cnn", classes=4, channels=3, width=8)
    assert net(torch.rand(2, 3, 16, 16)).shape == (2, 4)


def test_the_added_attack_reaches_the_worst_corner_of_a_linear_classifier():
    attack = added("attack")["STANDARD"]["fgsm"]
    net = classifier(2, (1, 5, 5), seed=0, scale=0.3)
    images = 0.3 + 0.4 * torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    labels = net(images).argmax(1)
    attacked = attack(net, images, labels, Threat(0.1))
    assert torch.allclose((attacked - images).abs(), torch.full_like(images, 0.1), atol=1e-6)
    before, after = (
        torch.nn.functional.cross_entropy(net(x), labels, reduction="none") for x in (images, attacked)
    )
    assert (after > before).all()
