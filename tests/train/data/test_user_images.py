import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import DataError
from eed_edge.images.picture_folder import PICTURE_SUFFIXES
from eed_edge.images.preprocess import open_picture, picture_shape, prepare_uint8, read_picture
from eed_edge.recipe import Data, from_dict
from eed_edge.train.data.splits import load_splits, splits_for_recipe, splits_from_arrays

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
    splits = load_splits(Data(name="npz"), path, seed=0)
    expected = {
        prepare_uint8(p, splits.input).tobytes() + bytes([y]) for p, y in zip(pixels, labels, strict=True)
    }
    assert set(whole(splits)) == expected
    assert splits.classes == ("0", "1", "2")
    assert splits.input.channels == ("RGB" if shape[-1] in (3, 4) else "L")


def test_an_npz_folder_may_have_a_test_part_and_names(tmp_path):
    write_npz(tmp_path / "train.npz", noise(20, 8, 8, 3), [0, 1] * 10, classes=np.array(["cat", "dog"]))
    write_npz(tmp_path / "test.npz", noise(4, 8, 8, 3, seed=1), [0, 1, 1, 0])
    splits = load_splits(Data(name="npz"), tmp_path, seed=0)
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
    splits = load_splits(Data(name="folder"), tmp_path, seed=0)
    shown = np.concatenate([getattr(splits, part).images[:, 0, 0, 0] for part in PARTS])
    truth = np.concatenate([getattr(splits, part).labels for part in PARTS])
    assert sorted(shown) == [*range(6), *range(10, 16)]
    assert (shown // 10 == truth).all()
    assert (splits.classes, splits.input.size) == (("a", "b"), (1, 8, 8))


def test_a_folder_of_train_and_test_keeps_its_own_test_part(tmp_path):
    write_folder(tmp_path / "train", colours("ab", 6, 8, 8, 3))
    write_folder(tmp_path / "test", colours("b", 3, 8, 8, 3))
    splits = load_splits(Data(name="folder"), tmp_path, seed=0)
    assert (len(splits.train), splits.test.labels.tolist()) == (8, [1, 1, 1])


def test_training_and_device_see_the_same_pixels(tmp_path):
    mixed = {**colours("a", 5, 9, 7, 3), **colours("b", 5, 5, 6), **colours("c", 5, 8, 8, 4)}
    write_folder(tmp_path, mixed)
    splits = load_splits(Data(name="folder", size=12), tmp_path, seed=0)
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
            r"set: expected PNG .* got none; give --data set, or name its parts train, val and test",
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


def test_every_suffix_that_is_read_is_one_that_pillow_opens_here():
    known = Image.registered_extensions()
    assert all(known[suffix] for suffix in PICTURE_SUFFIXES)


def by_name(root, *parts, seed=0):
    for i, (part, count) in enumerate(parts):
        write_folder(root / part, {f"{name}/{i}-{j}.png": noise(8, 8, 3, seed=100 * i + j + ord(name) * 1000)
                                   for name in "ab" for j in range(count)})  # fmt: skip
    return root


def test_train_and_val_alone_have_val_as_the_test_part(tmp_path, caplog):
    caplog.set_level("INFO", "eed_edge")
    splits = load_splits(Data(name="folder"), by_name(tmp_path, ("train", 12), ("Val", 5)), seed=0)
    assert (len(splits.train) + len(splits.tune) + len(splits.calib), len(splits.test)) == (24, 10)
    assert "train for train, tune and calib; Val for test" in caplog.text


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_of_three_folders_val_is_shared_by_tune_and_calib(tmp_path, val, caplog):
    caplog.set_level("INFO", "eed_edge")
    root = by_name(tmp_path, ("train", 12), (val, 10), ("test", 3), ("spare", 2))
    splits = load_splits(Data(name="folder", tune=0.1, calib=0.3), root, seed=0)
    assert [len(getattr(splits, part)) for part in PARTS] == [24, 5, 15, 6]
    held = load_splits(Data(name="folder"), root / val, seed=0)  # flat: the same pictures, divided otherwise
    assert {i.tobytes() for p in (splits.tune, splits.calib) for i in p.images} == {
        i.tobytes() for part in PARTS for i in getattr(held, part).images
    }
    assert f"train for train; {val} for tune and calib; test for test" in caplog.text
    assert "spare not used" in caplog.text
    some = load_splits(Data(name="folder", limit=22), root, seed=0)
    assert [len(getattr(some, part)) for part in PARTS] == [12, 5, 5, 6]


def test_npz_files_have_the_same_parts(tmp_path):
    for i, (name, count) in enumerate((("train", 12), ("val", 8), ("test", 4))):
        write_npz(tmp_path / f"{name}.npz", noise(count, 8, 8, seed=i), np.arange(count) % 2)
    splits = load_splits(Data(name="npz"), tmp_path, seed=0)
    assert [len(getattr(splits, part)) for part in PARTS] == [12, 4, 4, 4]


def test_a_class_may_be_called_test_in_a_flat_folder(tmp_path):
    splits = load_splits(
        Data(name="folder"), write_folder(tmp_path, {**colours(("test", "take"), 8, 8, 8)}), seed=0
    )
    assert splits.classes == ("take", "test")


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


def test_arrays_in_memory_are_divided_as_the_same_arrays_in_a_file(tmp_path):
    images, labels = noise(40, 9, 7, 3), np.arange(40) % 2
    path = write_npz(tmp_path / "own.npz", images, labels)
    recipe = from_dict({"seed": 3, "data": {"name": "npz", "size": 8}})
    file, memory = splits_for_recipe(recipe, path), splits_from_arrays(recipe, images, labels)
    assert whole(memory) == whole(file)
    assert splits_for_recipe(recipe, memory) is memory
    parts = splits_from_arrays(
        recipe, images, labels, classes=["x", "y"], held_out=(images[:8], labels[:8]),
        test=(images[:6], labels[:6]),
    )  # fmt: skip
    assert [len(getattr(parts, part)) for part in PARTS] == [40, 4, 4, 6]
    assert parts.classes == ("x", "y")
    with pytest.raises(DataError, match=r"images: expected labels \(40,\) of whole numbers, got \(3,\)"):
        splits_from_arrays(recipe, images, labels[:3])


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_calib_from_gives_tune_and_calib_and_leaves_train_whole(tmp_path, kind):
    root = by_name(tmp_path / "set", ("train", 12), ("test", 3))
    apart = noise(16, 8, 8, 3, seed=9)
    if kind == "npz":
        other = write_npz(tmp_path / "other.npz", apart, np.arange(16) % 2)
    else:
        other = write_folder(
            tmp_path / "other", {f"{'ab'[i % 2]}/{i}.png": image for i, image in enumerate(apart)}
        )
    recipe = from_dict({"data": {"name": "folder", "calib_from": str(other), "tune": 0.1, "calib": 0.3}})
    splits = splits_for_recipe(recipe, root)
    assert [len(getattr(splits, part)) for part in PARTS] == [24, 4, 12, 6]
    seen = {i.tobytes() for part in (splits.tune, splits.calib) for i in part.images}
    assert seen == {image.transpose(2, 0, 1).tobytes() for image in apart}


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


def test_the_shorter_side_is_scaled_and_the_middle_cut_the_same_way_on_the_device(tmp_path):
    shapes = [(40, 20, 3), (20, 40, 3), (33, 17), (12, 12, 3), (200, 10, 3), (21, 20, 4)]
    pictures = {f"{'ab'[i % 2]}/{i}.png": noise(*shape, seed=i)
                for i, shape in enumerate(shapes * 2)}  # fmt: skip
    write_folder(tmp_path, pictures)
    recipe = from_dict({"data": {"name": "folder", "size": 16, "shorter_side": 20}})
    splits = splits_for_recipe(recipe, tmp_path)
    trained = {image.tobytes() for part in PARTS for image in getattr(splits, part).images}
    device = [
        (open_picture(tmp_path / name, splits.input) * 255).round().astype(np.uint8) for name in pictures
    ]
    assert trained == {image.tobytes() for image in device}
    with Image.open(tmp_path / "a/0.png") as image:  # 40 x 20: the whole of Pillow's own way
        scaled = np.asarray(image.resize((20, 40), Image.Resampling.BILINEAR))[12:28, 2:18]
    np.testing.assert_array_equal(device[0], scaled.transpose(2, 0, 1))


def test_the_form_of_a_picture_is_that_of_its_decoded_pixels(tmp_path):
    images = {
        "grey.png": Image.fromarray(noise(5, 7)),
        "deep.png": Image.fromarray(noise(5, 7).astype(np.uint16)),
        "rgb.jpg": Image.fromarray(noise(5, 7, 3)),
        "rgba.png": Image.fromarray(noise(5, 7, 4)),
        "palette.png": Image.fromarray(noise(5, 7, 3)).convert("P"),
        "bits.png": Image.fromarray(noise(5, 7)).convert("1"),
        "see-through.png": Image.fromarray(noise(5, 7)),
        "turned.jpg": Image.fromarray(noise(5, 7, 3)),
    }
    for name, image in images.items():
        exif = Image.Exif()
        if name == "turned.jpg":
            exif[0x0112] = 6
        more = {"transparency": 3} if name == "see-through.png" else {}
        image.save(tmp_path / name, exif=exif, **more)
        pixels = read_picture(tmp_path / name)
        channels = 1 if pixels.ndim == 2 else 3
        assert picture_shape(tmp_path / name) == (*pixels.shape[:2], channels), name
