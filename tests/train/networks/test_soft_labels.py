"""Soft labels computed once: what is stored, when it is made anew, and that training learns from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from eed_edge.errors import RecipeError
from eed_edge.recipe import Pool, load_recipe
from eed_edge.train.data.batches import Images, as_float, on_device
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks import checkpoint, soft_labels
from eed_edge.train.run_folder import Run, open_run
from eed_edge.train.system.distributed import SINGLE_PROCESS
from tests.conftest import TINY, Flow, succeed

ONCE = Pool(distill=0.5, soft_labels="once")


@pytest.fixture
def begun(flow: Flow, tmp_path: Path) -> Run:
    """A run up to its selection."""
    run = tmp_path / "run"
    shutil.copytree(flow.run, run, ignore=shutil.ignore_patterns("joint*", "report.json", "*.jsonl"))
    return open_run(run)


@pytest.fixture
def train(begun: Run) -> Images:
    return on_device(splits_for_recipe(begun.recipe, None).train, torch.device("cpu"))


def added(begun: Run, train: Images, cfg: Pool = ONCE) -> Images:
    base, recipe = begun.base(), begun.recipe
    return soft_labels.add_soft_labels(
        train, base, cfg, recipe=recipe, run=begun.path, processes=SINGLE_PROCESS
    )


def test_they_are_the_bases_answers_to_each_image_and_its_mirror(begun, train):
    mirrored = soft_labels.answers(begun.base(), train.images[:9], mirror=True)
    with torch.no_grad():
        for place, images in enumerate([train.images[:9], train.images[:9].flip(3)]):
            torch.testing.assert_close(
                mirrored[:, place], begun.base()(as_float(images)), atol=0.02, rtol=0.02
            )  # bfloat16
    stored = added(begun, train).soft
    assert stored.shape == (len(train), 1, 10)  # the recipe mirrors no digits
    torch.testing.assert_close(stored[:9, 0], mirrored[:, 0], atol=0.02, rtol=0.02)


def test_a_stage_that_does_not_want_them_leaves_the_images_as_they_are(begun, train):
    for cfg in (Pool(distill=0.5), Pool(distill=0.0, soft_labels="once")):
        assert added(begun, train, cfg) is train
    assert not (begun.path / soft_labels.SOFT_LABELS_FILE).exists()


def test_they_are_computed_once_for_a_base_and_anew_where_the_file_does_not_fit(begun, train, monkeypatch):
    first, path = added(begun, train).soft, begun.path / soft_labels.SOFT_LABELS_FILE
    counted, real = [], soft_labels.answers

    def answers(*arguments, **options):
        counted.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(soft_labels, "answers", answers)
    assert torch.equal(added(begun, train).soft, first)
    assert not counted
    path.write_bytes(path.read_bytes()[:-40])  # cut short
    assert torch.equal(added(begun, train).soft, first)
    assert len(counted) == 1
    base = begun.base()
    with torch.no_grad():
        next(base.parameters()).mul_(1.5)
    checkpoint.save_network(begun.path / "base.safetensors", base, {})
    assert not torch.equal(added(begun, train).soft, first)
    assert len(added(begun, train[:50]).soft) == 50
    assert len(counted) == 3


def test_without_shifts_a_team_learns_the_same_from_both(begun, tmp_path):
    weights = {}
    for how in ("each", "once"):
        run = tmp_path / how
        shutil.copytree(begun.path, run)
        words = ("joint.distill=0.5", f"joint.soft_labels={how}", "joint.epochs=1", "data.crop=0")
        succeed("train", TINY, "--run", run, *(word for each in words for word in ("--set", each)))
        weights[how] = checkpoint.load_checkpoint(run / "joint" / "member-0.safetensors")[0]
        assert (run / soft_labels.SOFT_LABELS_FILE).exists() == (how == "once")
    for name, tensor in weights["each"].items():
        np.testing.assert_allclose(weights["once"][name], tensor, atol=2e-3)


def test_a_teacher_that_changes_cannot_answer_once():
    with pytest.raises(RecipeError, match="expected 'each' with teacher 'team'"):
        load_recipe(str(TINY), ["joint.soft_labels=once", "joint.teacher=team"])


def test_the_base_passes_that_a_training_needs():
    passes = [
        soft_labels.teacher_passes(Pool(epochs=7, distill=distill, soft_labels=how))
        for distill, how in ((0.5, "each"), (0.5, "once"), (0.0, "each"), (0.0, "once"))
    ]
    assert passes == [7, 2, 0, 0]
