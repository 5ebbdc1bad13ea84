"""Users' image sets that cannot be used are refused, and the message says why."""

import numpy as np
import pytest

from eed_edge.errors import DataError
from eed_edge.recipe import Data, from_dict
from eed_edge.train.data.splits import load_splits, splits_for_recipe
from tests.train.data.user_sets import TWELVE, by_name, colours, noise, write_folder, write_npz


@pytest.mark.parametrize(
    ("images", "labels", "more", "message"),
    [
        (
            noise(12, 8, 8),
            TWELVE * 0,
            {},
            r"expected two or more classes .* got 1 \(0\)",
        ),
        (
            noise(12, 8, 8),
            TWELVE - 1,
            {},
            r"expected labels 0, 1, … without a gap, got 2 classes from -1 to 0",
        ),
        (noise(12, 8, 8), TWELVE * 2, {}, r"without a gap, got 2 classes from 0 to 2"),
        (
            noise(12, 8, 8),
            TWELVE,
            {"classes": np.array(["a"])},
            r"expected two or more classes .* got 1 \(a\)",
        ),
        (
            noise(12, 8, 8),
            TWELVE,
            {"classes": np.array(["a", "a"])},
            r"classes with different names, got 2 \(a, a\)",
        ),
        (
            noise(12, 8, 8),
            TWELVE,
            {"classes": np.array(["a", "b", "c"])},
            r"images of every class, got none of 'c'",
        ),
        (
            noise(12, 8, 8),
            TWELVE + 1,
            {"classes": np.array(["a", "b"])},
            r"train: expected labels from 0 to 1, got 1 to 2",
        ),
        (
            noise(12, 8, 8),
            TWELVE,
            {"classes": np.array([1, 2])},
            r"expected classes as a list of names, got \(2,\) int64",
        ),
        (noise(12, 8, 8), TWELVE / 2, {}, r"expected labels \(12,\) of whole numbers, got \(12,\) float64"),
        (noise(12, 8, 8), TWELVE[:5], {}, r"expected labels \(12,\) of whole numbers, got \(5,\)"),
        (noise(12, 8, 8, 2), TWELVE, {}, r"expected images .* got \(12, 8, 8, 2\) uint8"),
        (noise(12, 8, 8) / 255, TWELVE, {}, r"expected images .* got \(12, 8, 8\) float64"),
        (
            noise(12, 8, 8).astype(object),
            TWELVE,
            {},
            r"expected an NPZ file .* got: Object arrays cannot be loaded",
        ),
    ],
)
def test_arrays_that_are_unfit_are_refused(tmp_path, images, labels, more, message):
    path = write_npz(tmp_path / "own.npz", images, labels, **more)
    with pytest.raises(DataError, match=message):
        load_splits(Data(name="npz"), path, seed=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "not a zip"), (b"PK\x03\x04", "not a zip"), (b"text", "not a zip")],
)
def test_a_missing_or_damaged_npz_file_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "train.npz").write_bytes(content)
    with pytest.raises(
        DataError, match=rf"train\.npz: expected an NPZ file with images and labels.*{reason}"
    ):
        load_splits(Data(name="npz"), tmp_path, seed=0)


def test_an_npz_test_part_of_another_size_or_label_is_refused(tmp_path):
    write_npz(tmp_path / "train.npz", noise(12, 8, 8), TWELVE)
    write_npz(tmp_path / "test.npz", noise(4, 9, 8), [0, 1, 1, 0])
    with pytest.raises(DataError, match=r"test\.npz: expected 8x8 pixels .* got 9x8; set data\.size"):
        _ = load_splits(Data(name="npz"), tmp_path, seed=0).test
    write_npz(tmp_path / "test.npz", noise(4, 8, 8), [0, 1, 2, 0])
    with pytest.raises(DataError, match="test: expected labels from 0 to 1, got 0 to 2"):
        _ = load_splits(Data(name="npz"), tmp_path, seed=0).test


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (colours("a", 6, 8, 8), r"expected two or more classes .* got 1 \(a\)"),
        ({**colours("a", 6, 8, 8), "b/notes.txt": b""}, r"b: expected PNG or JPEG pictures, got none"),
        (
            {**colours("ab", 6, 8, 8), "b/9.png": noise(8, 9)},
            r"9\.png: expected 8x8 pixels .* got 8x9; set data\.size",
        ),
        ({**colours("ab", 6, 8, 8), "b/9.png": b"not a picture"}, r"9\.png: expected a readable picture"),
        (
            {"train/1.png": noise(8, 8), "val/2.png": noise(8, 8)},
            r"expected one subfolder per class in each of train, val, got pictures of no class; sort them",
        ),
        (
            {"set/a/1.png": noise(8, 8), "set/b/1.png": noise(8, 8)},
            r"set: expected PNG .* got none; choose .*set if its subfolders are the classes",
        ),
        ({"a.png": noise(8, 8)}, r"expected one subfolder of pictures per class, got no subfolder"),
        (
            colours("ab", 1, 8, 8),
            r"expected 4 or more images of every class for test and the other parts, got",
        ),
    ],
)
def test_a_folder_that_is_unfit_is_refused(tmp_path, pictures, message):
    with pytest.raises(DataError, match=message):
        load_splits(Data(name="folder"), write_folder(tmp_path, pictures), seed=0)


def test_a_test_folder_with_a_class_that_train_lacks_is_refused(tmp_path):
    write_folder(tmp_path / "train", colours("ab", 6, 8, 8))
    write_folder(tmp_path / "test", colours("c", 3, 8, 8))
    with pytest.raises(DataError, match=r"c: expected a class of train/, got 'c'"):
        _ = load_splits(Data(name="folder"), tmp_path, seed=0).test


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "own.zip").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"own\.zip: expected a folder with one subfolder per class, got a file"
    ):
        load_splits(Data(name="folder"), tmp_path / "own.zip", seed=0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((("val", 4), ("test", 4)), r"expected train beside test, val, got none; name the training pictures"),
        ((("train", 9), ("val", 4), ("valid", 4)), r"expected one folder or file for val, got val and valid"),
        (
            (("train", 9), ("val", 1), ("test", 4)),
            r"expected 2 or more images of every class for tune and calib",
        ),
    ],
)
def test_folders_that_cannot_be_parts_are_refused(tmp_path, parts, message):
    with pytest.raises(DataError, match=message):
        load_splits(Data(name="folder"), by_name(tmp_path, *parts), seed=0)


def test_calib_from_of_other_classes_or_nowhere_is_refused(tmp_path):
    root = by_name(tmp_path / "set", ("train", 12), ("test", 3))
    write_folder(tmp_path / "other", colours("ac", 4, 8, 8, 3))
    for name, message in (
        ("other", "expected a class of train/, got 'c'"),
        ("none", "expected the pictures of"),
    ):
        recipe = from_dict({"data": {"name": "folder", "calib_from": str(tmp_path / name)}})
        with pytest.raises(DataError, match=message):
            splits_for_recipe(recipe, root)
