import hashlib
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from eed_edge.errors import DataError, DeviceError, RecipeError
from eed_edge.images.preprocess import prepare_uint8
from eed_edge.recipe import Data, from_dict
from eed_edge.train.data import official_files as official
from eed_edge.train.data.official_files import OFFICIAL
from eed_edge.train.data.splits import load_splits, splits_for_recipe

PARTS = ("train", "tune", "calib", "test")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def rows(split):
    """Each image and its label as bytes, so that parts can be compared as sets."""
    return [image.tobytes() + bytes([label]) for image, label in zip(split.images, split.labels, strict=True)]


def all_images(splits):
    return [row for part in PARTS for row in rows(getattr(splits, part))]


@pytest.fixture
def official_files(tmp_path, monkeypatch):
    """Put small files in the place of the official ones, with their digests."""

    def put(name, contents):
        files = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
        known = replace(official.OFFICIAL[name], files=files)
        monkeypatch.setitem(official.OFFICIAL, name, known)
        folder = tmp_path / known.folder
        folder.mkdir(exist_ok=True)
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        return tmp_path

    return put


def cifar_rows(seed, n=20):
    pixels = noise(n, 3, 32, 32, seed=seed)
    labels = np.arange(n, dtype=np.uint8) % 10
    return pixels, labels, np.hstack([labels[:, None], pixels.reshape(n, -1)]).tobytes()


@pytest.fixture
def cifar(official_files):
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    return official_files("cifar10", {name: cifar_rows(seed)[2] for seed, name in enumerate(names)})


def test_digits_are_divided_without_loss_or_overlap():
    splits = load_splits(Data(name="digits"), None, seed=3)
    assert len(splits.test) >= 450
    assert len(all_images(splits)) == 1797
    truth = np.sort(np.concatenate([getattr(splits, part).labels for part in PARTS]))
    assert np.bincount(truth).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert splits.input.size == splits.train.images.shape[1:] == (1, 16, 16)
    assert splits.train.images.dtype == np.uint8
    assert splits.train.labels.dtype == np.int64


def test_digits_are_scaled_as_a_device_would_scale_them():
    small, large = (
        load_splits(Data(name="digits", size=8), None, seed=0),
        load_splits(Data(name="digits", size=20), None, seed=0),
    )
    again = np.stack([prepare_uint8(image[0], large.input) for image in small.tune.images])
    np.testing.assert_array_equal(again, large.tune.images)


def test_a_seed_gives_the_same_parts_and_another_seed_others():
    first, again, other = (load_splits(Data(name="digits", size=8), None, seed=seed) for seed in (1, 1, 2))
    assert all_images(first) == all_images(again)
    assert rows(first.tune) != rows(other.tune)


def test_a_limit_binds_the_training_images_and_leaves_the_test_part_alone():
    everything, some = (
        load_splits(Data(name="digits", size=8), None, seed=1),
        load_splits(Data(name="digits", size=8, limit=100), None, seed=1),
    )
    assert [len(getattr(some, part)) for part in PARTS] == [80, 10, 10, len(everything.test)]
    assert rows(some.test) == rows(everything.test)


def test_a_recipe_names_the_images_and_their_division():
    recipe = from_dict({"seed": 4, "data": {"size": 8, "limit": 300, "tune": 0.2, "calib": 0.3, "test": 0.5}})
    splits = splits_for_recipe(recipe, None)
    assert [len(getattr(splits, part)) for part in PARTS] == [150, 60, 90, 898]
    assert all_images(splits) == all_images(
        load_splits(Data(name="digits", size=8, limit=300, tune=0.2, calib=0.3, test=0.5), None, seed=4)
    )


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10_is_read_from_its_folder_or_from_the_one_above(cifar, below):
    splits = load_splits(Data(name="cifar10"), cifar / below, seed=0)
    expected = [
        image.tobytes() + bytes([label])
        for seed in range(5)
        for image, label in zip(*cifar_rows(seed)[:2], strict=True)
    ]
    assert sorted(all_images(splits)[:100]) == sorted(expected)
    np.testing.assert_array_equal(splits.test.images, cifar_rows(5)[0])
    assert splits.classes[3] == "cat"


def test_the_official_test_part_is_not_opened_before_it_is_asked_for(cifar):
    (cifar / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    splits = load_splits(Data(name="cifar10"), cifar, seed=0)
    with pytest.raises(
        DataError, match=r"cannot read .*test_batch\.bin: No such file.* run: eed-edge data cifar10"
    ):
        _ = splits.test


def test_svhn_labels_of_ten_mean_zero(official_files):
    pixels, labels = noise(30, 32, 32, 3), np.arange(30) % 10 + 1
    stream = io.BytesIO()
    savemat(stream, {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None]})
    root = official_files("svhn", {"train_32x32.mat": stream.getvalue(), "test_32x32.mat": stream.getvalue()})
    test = load_splits(Data(name="svhn", size=32), root, seed=0).test
    np.testing.assert_array_equal(test.images, pixels.transpose(0, 3, 1, 2))
    scaled = load_splits(Data(name="svhn", size=20), root, seed=0)
    expected = [prepare_uint8(picture, scaled.input) for picture in pixels]
    np.testing.assert_array_equal(scaled.test.images, expected)
    assert test.labels.tolist() == [*range(1, 10), 0] * 3


def test_svhn_files_of_ones_own_are_taken_with_a_warning_unless_they_are_damaged(tmp_path, caplog):
    stream = io.BytesIO()
    pixels, labels = noise(30, 32, 32, 3), np.arange(30) % 10 + 1
    savemat(stream, {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None]})
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(stream.getvalue())
    splits = load_splits(Data(name="svhn"), tmp_path, seed=0)
    assert len(splits.train) == 10
    assert "train_32x32.mat is not the official file" in caplog.text
    for content in (stream.getvalue()[: len(stream.getvalue()) // 2], b"not MATLAB", b""):
        (tmp_path / "train_32x32.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"expected a \.mat file of X \(32, 32, 3, n\) uint8") as caught:
            load_splits(Data(name="svhn"), tmp_path, seed=0)
        assert "\n" not in str(caught.value)


def test_a_file_of_the_official_size_must_be_the_official_one(tmp_path, monkeypatch):
    monkeypatch.setitem(OFFICIAL["svhn"].sizes, "train_32x32.mat", 100)
    (tmp_path / "train_32x32.mat").write_bytes(bytes(100))
    with pytest.raises(DataError, match="expected the official file"):
        load_splits(Data(name="svhn"), tmp_path, seed=0)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"\x01" + content[1:]])
def test_a_truncated_or_changed_official_file_is_refused(cifar, damage):
    path = cifar / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"data_batch_2\.bin: expected the official file .* truncated or changed"
    ):
        load_splits(Data(name="cifar10"), cifar, seed=0)


@pytest.mark.parametrize("name", ["cifar10", "svhn", "npz", "folder"])
def test_a_root_that_is_missing_is_named(tmp_path, name):
    with pytest.raises(DataError, match=r"expected .*, got no path; name it with"):
        load_splits(Data(name=name), None, seed=0)
    with pytest.raises(DataError, match=r"nowhere: expected .*, there is nothing of that name"):
        load_splits(Data(name=name), tmp_path / "nowhere", seed=0)


def test_an_unknown_set_is_refused():
    with pytest.raises(RecipeError, match=r"data\.name: expected one of digits, cifar10, .* got 'mnist'"):
        load_splits(Data(name="mnist"), None, seed=0)


@pytest.mark.parametrize(("name", "package"), [("digits", "sklearn.datasets"), ("svhn", "scipy.io")])
def test_a_package_that_is_missing_is_named_with_what_to_install(monkeypatch, tmp_path, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DeviceError, match=r"expected (scikit-learn|SciPy), .* pip install '\.\[train\]'"):
        load_splits(Data(name=name), tmp_path, seed=0)
