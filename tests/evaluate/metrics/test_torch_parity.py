"""The replay check: silent where the bundle is the torch network, and not where it is another."""

import numpy as np
import pytest
import torch

from eed_edge.evaluate.metrics import torch_parity
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.gates.margins import distance_to_tie


def deployed_with(cascade, submodels, threshold):
    return Cascade(
        cascade.manifest,
        submodels,
        rule="confidence",
        parameters={"threshold": threshold},
        max_submodels=len(submodels),
    )


def test_the_exported_bundle_answers_as_torch_on_every_set(models, images_of_test):
    batch, seen = images_of_test.images.float() / 255, []
    figures = torch_parity.check_torch_parity(
        models, {"clean": batch, "negative": 1 - batch}, on_progress=lambda *row: seen.append(row)
    )
    assert figures == {"images": 160, "allowed": 0, "disagreements": []}
    assert seen == [("replay", 80, 160), ("replay", 160, 160)]


def test_a_bundle_with_another_submodel_is_found_out(models, images_of_test, monkeypatch):
    first, _ = models.deployed.submodels
    wrong = deployed_with(models.deployed, [first, first], threshold=2.0)  # the second is not what it was
    batch = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # on which members differ
    monkeypatch.setattr(torch_parity, "BATCH", 33)  # numbers go on over the batches
    figures = torch_parity.check_torch_parity(
        ModelsCompared(models.singles, models.ensemble, wrong), {"clean": batch}, on_progress=lambda *_: None
    )
    with torch.no_grad():
        each = models.ensemble.member_logits(batch).softmax(2).numpy()
    torch_labels, wrong_labels = each.mean(0).argmax(1), each[0].argmax(1)
    apart = np.flatnonzero(torch_labels != wrong_labels)
    assert len(apart) > figures["allowed"]
    assert [
        (row["image"], row["attack"], row["torch"], row["bundle"]) for row in figures["disagreements"]
    ] == [(i, "clean", torch_labels[i], wrong_labels[i]) for i in apart]
    two = np.sort(each.mean(0)[apart], axis=1)[:, -2:]
    gaps = two[:, 1] - two[:, 0]  # a threshold of 2 is never near
    assert [row["margin"] for row in figures["disagreements"]] == pytest.approx(gaps, abs=1e-5)


@pytest.mark.parametrize(("images", "allowed"), [(0, 0), (1, 0), (999, 0), (1000, 1), (1999, 1), (5000, 5)])
def test_one_in_every_full_thousand_may_disagree(images, allowed):
    assert torch_parity.logit_tolerance(images) == allowed


def test_the_distance_to_a_tie_is_that_of_the_closest_comparison_made():
    probs = np.array(
        [[[0.7, 0.3], [0.55, 0.45], [0.55, 0.45]], [[0.5, 0.5], [0.95, 0.05], [0.46, 0.54]]], np.float32
    )
    margins = distance_to_tie(probs, "confidence", {"threshold": 0.6})
    # stops at once: 0.7 - 0.6; goes on by 0.05; goes on by 0.05 but m_2 is 0.505 against 0.495
    assert margins == pytest.approx([0.1, 0.05, 0.01], abs=1e-6)
