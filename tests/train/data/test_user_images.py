"""Images of users, as NPZ files, folders or arrays, are divided and prepared as on the device."""

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import DataError
from eed_edge.images.picture_folder import PICTURE_SUFFIXES
from eed_edge.images.preprocess import open_picture, picture_shape, prepare_uint8, read_picture
from eed_edge.recipe import Data, from_dict
from eed_edge.train.data.splits import load_splits, splits_for_recipe, splits_from_arrays
from tests.train.data.user_sets import PARTS, all_images, by_name, colours, noise, write_folder, write_npz


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
def test_arrays_of_an_npz_file_come_back_through_the_preprocessing(tmp_path, shape):
    pixels, labels = noise(30, *shape), np.arange(30) % 3
    path = write_npz(tmp_path / "own.npz", pixels, labels)
    splits = load_splits(Data(name="npz"), path, seed=0)
    expected = {
        prepare_uint8(p, splits.input).tobytes() + bytes([y]) for p, y in zip(pixels, labels, strict=True)
    }
    assert set(all_images(splits)) == expected
    assert splits.classes == ("0", "1", "2")
    assert splits.input.channels == ("RGB" if shape[-1] in (3, 4) else "L")


def test_an_npz_folder_may_have_a_test_part_and_names(tmp_path):
    write_npz(tmp_path / "train.npz", noise(20, 8, 8, 3), [0, 1] * 10, classes=np.array(["cat", "dog"]))
    write_npz(tmp_path / "test.npz", noise(4, 8, 8, 3, seed=1), [0, 1, 1, 0])
    splits = load_splits(Data(name="npz"), tmp_path, seed=0)
    assert splits.classes == ("cat", "dog")
    assert (len(splits.train), splits.test.labels.tolist()) == (16, [0, 1, 1, 0])
    np.testing.assert_array_equal(splits.test.images, noise(4, 8, 8, 3, seed=1).transpose(0, 3, 1, 2))


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


def test_every_suffix_that_is_read_is_one_that_pillow_opens_here():
    known = Image.registered_extensions()
    assert all(known[suffix] for suffix in PICTURE_SUFFIXES)


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


def test_arrays_in_memory_are_divided_as_the_same_arrays_in_a_file(tmp_path):
    images, labels = noise(40, 9, 7, 3), np.arange(40) % 2
    path = write_npz(tmp_path / "own.npz", images, labels)
    recipe = from_dict({"seed": 3, "data": {"name": "npz", "size": 8}})
    file, memory = splits_for_recipe(recipe, path), splits_from_arrays(recipe, images, labels)
    assert all_images(memory) == all_images(file)
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
