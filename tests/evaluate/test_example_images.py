"""The strip of examples: equally many of every kind, and what it says is what the networks say."""

import numpy as np
import pytest

from eed_edge.evaluate import example_images

SHAPES = {
    "strip_clean": (8, 8, 8, 1),
    "strip_attacked": (8, 8, 8, 1),
    "strip_labels": (8,),
    "strip_said_clean": (8, 2),
    "strip_said_attacked": (8, 2),
    "strip_answer_clean": (8,),
    "strip_answer_attacked": (8,),
    "strip_used_clean": (8,),
    "strip_used_attacked": (8,),
}


def test_it_says_what_the_deployed_rule_and_its_members_say(models, images_of_test):
    clean = images_of_test.images.float() / 255
    arrays = example_images.examples(models, clean, 1 - clean, images_of_test.labels.numpy(), count=8)
    assert {name: array.shape for name, array in arrays.items()} == SHAPES
    for kind in ("clean", "attacked"):
        images = np.ascontiguousarray(arrays[f"strip_{kind}"].transpose(0, 3, 1, 2))
        answer = models.deployed(images)
        np.testing.assert_array_equal(arrays[f"strip_answer_{kind}"], answer.labels)
        np.testing.assert_array_equal(arrays[f"strip_used_{kind}"], answer.submodels_used)
        np.testing.assert_array_equal(
            arrays[f"strip_said_{kind}"].T, models.deployed.member_probs(images).argmax(2)
        )
    np.testing.assert_array_equal(arrays["strip_attacked"], 1 - arrays["strip_clean"])


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["1111", "0000", "0000", "0000", "0000"], [0, 1, 2, 3]),
        (["1000", "0100", "0010", "0001", "0000"], [0, 1, 2, 3]),
        (["110000", "001111", "000000", "000000", "000000"], [0, 1, 2, 3]),
        (["110000", "000000", "000000", "000000", "001111"], [0, 1, 2, 3]),
        (["100000", "011100", "000011", "000000", "000000"], [0, 1, 2, 4]),
        (["10", "00", "00", "00", "00"], [0]),
    ],
)
def test_kinds_take_turns_and_wrong_images_only_fill_up(kinds, expected):
    masks = [np.array([mark == "1" for mark in kind]) for kind in kinds]
    assert example_images._shared_out(masks, 4).tolist() == expected
