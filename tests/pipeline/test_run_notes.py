"""What a reader of a run's figures must know is said in the log, at export and first in the report."""

import json
import shutil

import numpy as np
import pytest
import torch

from eed_edge.errors import InputError
from eed_edge.pipeline.run_notes import base_note, data_notes
from eed_edge.recipe import from_dict
from eed_edge.report.notes_file import read_notes, write_notes
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import splits_from_arrays
from tests.conftest import Flow, call


def tune_of(counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Images(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels)


@pytest.mark.parametrize(
    ("counts", "clean", "at_chance"),
    [
        ([50] * 10, 0.10, True),
        ([50] * 10, 0.13, True),  # above a constant answer, and of no use
        ([50] * 10, 0.25, False),
        ([90, 10], 0.90, True),  # one answer for all
        ([90, 10], 0.97, False),
        ([50, 50], 0.52, True),
        ([5, 5], 0.70, True),  # of ten images, that cannot be told from chance
        ([20] * 43, 0.04, True),
        ([20] * 43, 0.20, False),
    ],
)
def test_a_base_that_is_no_better_than_one_answer_for_all_is_at_chance(counts, clean, at_chance):
    note = base_note(from_dict({}), clean, tune_of(counts))["base_at_chance"]
    assert bool(note) == at_chance
    if at_chance:
        for cause in ("labels", "base.lr 0.1", "base.epochs 10", "softmax", "base.eps_255 8"):
            assert cause in note


def test_a_base_that_is_right_on_a_few_images_is_not_said_to_be_at_chance_level():
    note = base_note(from_dict({}), 1.0, tune_of([4, 2]))["base_at_chance"]
    assert note.startswith("the base cannot be told from chance: right on 100.0% of 6 tune images")
    assert "raise data.tune" in note
    note = base_note(from_dict({}), 0.5, tune_of([4, 4]))["base_at_chance"]
    assert note.startswith("the base is at chance level: right on 50.0% of 8 tune images")


def notes_for(counts, table):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    apart = (images[::2], labels[::2]) if table.pop("apart", False) else None
    recipe = from_dict(table)
    return data_notes(recipe, splits_from_arrays(recipe, images, labels, held_out=apart))


def test_too_few_images_of_a_class_or_for_the_gate_are_named():
    few = notes_for([400, 12, 400], {})["few_images"]
    assert "1 of 3 classes have fewer than 10 training images (1 4): too few to learn them" in few
    assert "60 calib images cannot show a drop of 0.50%, one of them is 1.7%: at least 100 are needed" in few
    assert "calib" not in notes_for([400, 12, 400], {"gate": {"max_drop": 0.01}})["few_images"]
    assert notes_for([800, 800], {})["few_images"] == ""


def test_given_weights_may_have_seen_tune_and_calib_unless_these_are_pictures_of_their_own():
    fields = {"base": {"init": "net.pt"}}
    assert (
        "may have seen the pictures of tune and calib" in notes_for([200, 200], fields)["weights_have_seen"]
    )
    assert notes_for([200, 200], fields | {"apart": True})["weights_have_seen"] == ""
    assert notes_for([200, 200], {})["weights_have_seen"] == ""


def test_a_base_at_chance_is_the_last_word_of_train_and_the_first_of_the_report(flow: Flow, tmp_path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    write_notes(run, {"base_at_chance": "the base is at chance level: T", "few_images": "F"})
    (run / "report.json").write_text(json.dumps({"seed": 0}))
    assert call("train", run.parents[0] / "none", "--run", run).exit_code == 1
    printed = call("report", run, flow.bundle).output
    assert printed.startswith("warning: the base is at chance level: T\n")
    assert "warning: F" in printed
    assert call("report", run, flow.bundle, "--html", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert page.index("the base is at chance level: T") < page.index("<h2")


def test_notes_are_added_taken_away_and_must_be_texts(tmp_path):
    assert read_notes(tmp_path) == {}
    write_notes(tmp_path, {"a": "1", "b": "2"})
    write_notes(tmp_path, {"a": "", "c": "3"})
    assert read_notes(tmp_path) == {"b": "2", "c": "3"}
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(InputError, match=r"notes\.json: expected a JSON object of texts"):
        read_notes(tmp_path)
