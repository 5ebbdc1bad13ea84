import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import DataError
from eed_edge.images.preprocess import open_picture, prepare_uint8
from eed_edge.train.data.splits import load_splits
from eed_edge.train.data.user_images import SUFFIXES

PARTS = ("train", "tune", "calib", "test")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def whole(splits):
    """Each image and its label as bytes, from all parts."""
    parts = [getattr(splits, part) for part in PARTS]
    return [x.tobytes() + bytes([y]) for part in parts for x, y in zip(part.images, part.labels, strict=True)]


def write_npz(path, images, labels, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=np.asarray(labels), **more)
    return path


def write_folder(root, pictures):
    """``pictures``: path below root → uint8 array or raw bytes."""
    for name, content in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
    return root


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
def test_arrays_of_an_npz_file_come_back_through_the_preprocessing(tmp_path, shape):
    pixels, labels = noise(30, *shape), np.arange(30) % 3
    path = write_npz(tmp_path / "own.npz", pixels, labels)
    splits = load_splits("npz", path, seed=0)
    expected = {
        prepare_uint8(p, splits.input).tobytes() + bytes([y]) for p, y in zip(pixels, labels, strict=True)
    }
    assert set(whole(splits)) == expected
    assert splits.classes == ("0", "1", "2")
    assert splits.input.channels == ("RGB" if shape[-1] in (3, 4) else "L")


def test_an_npz_folder_may_have_a_test_part_and_names(tmp_path):
    write_npz(tmp_path / "train.npz", noise(20, 8, 8, 3), [0, 1] * 10, classes=np.array(["cat", "dog"]))
    write_npz(tmp_path / "test.npz", noise(4, 8, 8, 3, seed=1), [0, 1, 1, 0])
    splits = load_splits("npz", tmp_path, seed=0)
    assert splits.classes == ("cat", "dog")
    assert (len(splits.train), splits.test.labels.tolist()) == (16, [0, 1, 1, 0])
    np.testing.assert_array_equal(splits.test.images, noise(4, 8, 8, 3, seed=1).transpose(0, 3, 1, 2))


def colours(classes, count, *shape):
    return {f"{name}/{i}.png": noise(*shape, seed=i) for name in classes for i in range(count)}


def test_a_folder_gives_each_picture_its_folders_name(tmp_path):
    pictures = {
        f"{name}/{i}.PNG": np.full((8, 8), 10 * c + i, np.uint8)
        for c, name in enumerate("ab")
        for i in range(6)
    }
    write_folder(tmp_path, {**pictures, "a/.hidden.png": b"", "a/notes.txt": b"", ".git/x.png": b""})
    splits = load_splits("folder", tmp_path, seed=0)
    shown = np.concatenate([getattr(splits, part).images[:, 0, 0, 0] for part in PARTS])
    truth = np.concatenate([getattr(splits, part).labels for part in PARTS])
    assert sorted(shown) == [*range(6), *range(10, 16)]
    assert (shown // 10 == truth).all()
    assert (splits.classes, splits.input.size) == (("a", "b"), (1, 8, 8))


def test_a_folder_of_train_and_test_keeps_its_own_test_part(tmp_path):
    write_folder(tmp_path / "train", colours("ab", 6, 8, 8, 3))
    write_folder(tmp_path / "test", colours("b", 3, 8, 8, 3))
    splits = load_splits("folder", tmp_path, seed=0)
    assert (len(splits.train), splits.test.labels.tolist()) == (10, [1, 1, 1])


def test_training_and_device_see_the_same_pixels(tmp_path):
    mixed = {**colours("a", 5, 9, 7, 3), **colours("b", 5, 5, 6), **colours("c", 5, 8, 8, 4)}
    write_folder(tmp_path, mixed)
    splits = load_splits("folder", tmp_path, seed=0, size=12)
    device = {
        (open_picture(tmp_path / name, splits.input) * 255).round().astype(np.uint8).tobytes()
        for name in mixed
    }
    trained = {image.tobytes() for part in PARTS for image in getattr(splits, part).images}
    assert trained == device


TWELVE = np.arange(12) % 2


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
        load_splits("npz", path, seed=0)


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
        load_splits("npz", tmp_path, seed=0)


def test_an_npz_test_part_of_another_size_or_label_is_refused(tmp_path):
    write_npz(tmp_path / "train.npz", noise(12, 8, 8), TWELVE)
    write_npz(tmp_path / "test.npz", noise(4, 9, 8), [0, 1, 1, 0])
    with pytest.raises(DataError, match=r"test\.npz: expected 8x8 pixels .* got 9x8; set data\.size"):
        _ = load_splits("npz", tmp_path, seed=0).test
    write_npz(tmp_path / "test.npz", noise(4, 8, 8), [0, 1, 2, 0])
    with pytest.raises(DataError, match="test: expected labels from 0 to 1, got 0 to 2"):
        _ = load_splits("npz", tmp_path, seed=0).test


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
        ({"a.png": noise(8, 8)}, r"expected one subfolder of pictures per class, got no subfolder"),
        (colours("ab", 1, 8, 8), r"expected images enough for train, tune and calib, got 1"),
    ],
)
def test_a_folder_that_is_unfit_is_refused(tmp_path, pictures, message):
    with pytest.raises(DataError, match=message):
        load_splits("folder", write_folder(tmp_path, pictures), seed=0)


def test_a_test_folder_with_a_class_that_train_lacks_is_refused(tmp_path):
    write_folder(tmp_path / "train", colours("ab", 6, 8, 8))
    write_folder(tmp_path / "test", colours("c", 3, 8, 8))
    with pytest.raises(DataError, match=r"c: expected a class of train/, got 'c'"):
        _ = load_splits("folder", tmp_path, seed=0).test


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "own.zip").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"own\.zip: expected a folder with one subfolder per class, got a file"
    ):
        load_splits("folder", tmp_path / "own.zip", seed=0)


def test_every_suffix_that_is_read_is_one_that_pillow_opens_here():
    known = Image.registered_extensions()
    assert all(known[suffix] for suffix in SUFFIXES)
