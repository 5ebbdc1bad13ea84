"""Images given in Python are the data set that the same images in a file are."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from eed_edge.errors import DataError
from eed_edge.recipe import Recipe, from_dict
from eed_edge.train.data.images_in_memory import dataset_in_memory
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.fingerprints import images_digest

RNG = np.random.default_rng(0)
PIXELS, LABELS = RNG.integers(0, 256, (60, 6, 5, 3), dtype=np.uint8), np.arange(60) % 3


class Pictures:
    """A data set of PIL pictures that names its classes, as torchvision's do."""

    classes = ("cat", "dog", "owl")

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, place):
        return Image.fromarray(PIXELS[place]), int(LABELS[place])


FIRST = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy())
FORMS = {
    "arrays": (PIXELS, LABELS),
    "lists": [PIXELS, LABELS.tolist()],
    "floats": ((PIXELS / 255).astype(np.float32), LABELS),
    "tensors, channels first": (FIRST, torch.from_numpy(LABELS)),
    "a torch data set": TensorDataset(FIRST / 255, torch.from_numpy(LABELS)),
    "a data set of pictures": Pictures(),
    "one part": {"train": (PIXELS, LABELS)},
}


@pytest.mark.parametrize("kind", FORMS)
def test_every_kind_is_divided_as_the_same_images_in_a_file_are(kind, tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    recipe = from_dict({"data": {"name": "npz"}})
    expected = splits_for_recipe(recipe, tmp_path / "a.npz")
    splits = splits_for_recipe(recipe, FORMS[kind])
    assert images_digest(splits) == images_digest(expected)
    assert np.array_equal(splits.test.images, expected.test.images)
    assert splits.input == expected.input


def test_grey_images_may_come_without_channels_or_with_them_in_front():
    grey = PIXELS[..., 0]
    expected = dataset_in_memory((grey, LABELS), None).train.images
    assert expected.shape == (60, 1, 6, 5)
    for images in (grey[:, None], grey[..., None]):
        assert np.array_equal(dataset_in_memory((images, LABELS), None).train.images, expected)


def test_classes_are_named_by_a_third_array_or_by_the_data_set_even_a_part_of_it():
    assert dataset_in_memory((PIXELS, LABELS, ["a", "b", "c"]), None).classes == ("a", "b", "c")
    assert dataset_in_memory(Subset(Pictures(), range(9)), None).classes == Pictures.classes
    assert dataset_in_memory((PIXELS, LABELS), None).classes == ("0", "1", "2")


def test_parts_of_their_own_stay_what_they_are():
    parts = {"train": (PIXELS[:30], LABELS[:30]), "val": (PIXELS[30:45], LABELS[30:45])}
    splits = splits_for_recipe(Recipe(), parts | {"test": (PIXELS[45:], LABELS[45:])})
    assert (len(splits.train), len(splits.tune) + len(splits.calib), len(splits.test)) == (30, 15, 15)
    assert np.array_equal(splits.test.images, PIXELS[45:].transpose(0, 3, 1, 2))


class Odd(Pictures):
    def __getitem__(self, place):
        return PIXELS[place, : 4 + place % 2], 0


REFUSED = {
    "a name that is no part": (
        {"train": (PIXELS, LABELS), "extra": (PIXELS, LABELS)},
        "got train, extra; name",
    ),
    "no train": ({"test": (PIXELS, LABELS)}, "expected the parts train, val and test, got test"),
    "one array": ((PIXELS,), r"train: expected \(images, labels\) or \(images, labels, classes\), got 1"),
    "a number": (5, "expected arrays .* or a data set with a length, got int"),
    "normalised floats": (
        (PIXELS - 128.0, LABELS),
        r"got -128 to 127; leave mean and standard deviation out",
    ),
    "images alone": (list(PIXELS), r"expected \(images, labels\)"),
    "several sizes": (Odd(), "expected images of one size, got 60 of several"),
    "no images": (TensorDataset(FIRST[:0], FIRST[:0]), "train: expected at least one image, got none"),
    "no arrays": ((PIXELS[:0], LABELS[:0]), "expected at least one image, got none"),
    "names as labels": ((PIXELS, LABELS.astype(str)), "got .*; number the classes from 0, one label per"),
    "no pairs": (TensorDataset(FIRST), r"train\[0\]: expected an image and its label"),
    "too few labels": ((PIXELS, LABELS[:5]), r"expected labels \(60,\)"),
    "integers": ((PIXELS.astype(int), LABELS), r"expected images .* uint8, .* got \(60, 6, 5, 3\) int64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused_in_one_line(case):
    images, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        dataset_in_memory(images, None)


def test_a_run_on_images_in_memory_asks_for_them_again():
    with pytest.raises(DataError, match="were given in Python; give them again there"):
        splits_for_recipe(from_dict({"data": {"name": "arrays"}}), None)
