"""``eed-edge init``: what it sees in pictures, and that its recipe suits them and is read."""

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import DataError
from eed_edge.recipe import Data, load_recipe
from eed_edge.train.data.picture_survey import mirroring_harms, survey
from eed_edge.train.data.splits import load_splits, splits_for_recipe
from tests.conftest import call


def write(root, name, count, size, *, grey=False, seed=0):
    """Random pictures ``size`` (height, width) in ``root/name``."""
    rng = np.random.default_rng(seed)
    (root / name).mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, *([] if grey else [3])), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / f"{i}.png")


def drafted(root, *words):
    path = root.parent / "draft.toml"
    result = call("init", root, "--out", path, *words)
    assert result.exit_code == 0, result.output
    return load_recipe(str(path)), path.read_text()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (64, 0, "resnet18")), ((60, 61), (64, 0, "resnet18")), ((8, 8), (16, 0, "resnet18")),
     ((300, 400), (224, 256, "resnet18-imagenet")), ((100, 60), (64, 64, "resnet18")),
     ((96, 96), (96, 0, "resnet18-imagenet")), ((500, 500), (224, 0, "resnet18-imagenet"))],
)  # fmt: skip
def test_size_cut_and_network_follow_the_pictures(tmp_path, size, expected):
    for name in "xy":
        write(tmp_path / "set", f"{name}{name}", 4, size)
    recipe, text = drafted(tmp_path / "set")
    assert (recipe.data.size, recipe.data.shorter_side, recipe.net.arch) == expected
    assert recipe.name == f"set-{recipe.net.arch}-w16"
    assert len(text.splitlines()) < 25
    assert recipe.base.eps_255 == (4 if recipe.data.size >= 96 else 8)
    assert splits_for_recipe(recipe, tmp_path / "set").input.size == (3, recipe.data.size, recipe.data.size)


def test_every_layout_and_mode_gives_a_recipe_of_fewer_than_25_lines_that_can_be_read(tmp_path):
    for part in ("train", "val", "test"):
        for name in ("left", "turn"):
            write(tmp_path / "set" / part, name, 6, (20, 40), grey=True, seed=len(part))
    for parts in (("train", "val", "test"), ("train", "val"), ("train",)):
        for part in {"val", "test"} - set(parts):
            (tmp_path / "set" / part).rename(tmp_path / f"without-{part}-{len(parts)}")
        for attack in ("n-fgsm", "pgd", "none"):
            recipe, text = drafted(tmp_path / "set", "--attack", attack)
            assert len(text.splitlines()) < 25
            assert {recipe.base.attack, recipe.pool.attack, recipe.joint.attack} == {attack}
            assert recipe.pool.eps_255 == recipe.base.eps_255
            assert not recipe.data.flip  # a mirror turns left into right
            (tmp_path / "draft.toml").unlink()
        for part in {"val", "test"} - set(parts):
            (tmp_path / f"without-{part}-{len(parts)}").rename(tmp_path / "set" / part)


def test_an_npz_file_is_looked_at_too_and_an_old_recipe_is_left_alone(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(40) % 4)
    recipe, _ = drafted(tmp_path / "own.npz")
    assert (recipe.data.name, recipe.data.size, recipe.base.eps_255) == ("npz", 24, 25.5)
    assert recipe.data.test == 0.2
    again = call("init", tmp_path / "own.npz", "--out", tmp_path / "draft.toml")
    assert again.exit_code == 1
    assert "expected a new file" in again.output


def test_the_survey_counts_what_is_there(tmp_path):
    write(tmp_path / "train", "aa", 3, (10, 12))
    write(tmp_path / "train", "bb", 5, (10, 14))
    write(tmp_path / "test", "aa", 2, (10, 12))
    seen = survey(tmp_path)
    assert (seen.kind, seen.classes, seen.counts) == ("folder", ("aa", "bb"), {"train": 8, "test": 2})
    assert (seen.of_class.tolist(), sorted(seen.widths.tolist())) == ([3, 5], [12] * 3 + [14] * 5)
    assert (set(seen.heights.tolist()), seen.channels) == ({10}, 3)


def test_mirrored_digits_are_other_pictures_and_mirrored_blobs_are_not():
    test = load_splits(Data(name="digits"), None, seed=0).test
    harms, (as_is, mirrored) = mirroring_harms(test.images[:300, 0], test.labels[:300])
    assert harms
    assert as_is > 0.8 > 0.6 > mirrored
    rng, labels = np.random.default_rng(0), np.arange(200) % 4
    left = rng.integers(0, 60, (200, 16, 8))
    blobs = np.concatenate([left, left[:, :, ::-1]], 2) + 40 * labels[:, None, None]
    symmetric = blobs + rng.integers(0, 9, blobs.shape)
    assert not mirroring_harms(symmetric.astype(np.uint8), labels)[0]


def test_a_picture_does_not_count_as_near_to_itself():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    assert mirroring_harms(images, np.arange(3)) == (False, (0.0, 0.0))


@pytest.mark.parametrize(("parts", "needed"), [(("",), 4), (("train", "test"), 3)])
def test_a_set_that_train_would_refuse_gets_no_recipe_and_few_pictures_are_warned_of(tmp_path, parts, needed):
    for part in parts:
        write(tmp_path / "set" / part, "full", 40, (16, 16))
        write(tmp_path / "set" / part, "scarce", needed - 1, (16, 16))
    result = call("init", tmp_path / "set", "--out", tmp_path / "draft.toml")
    assert result.exit_code == 1
    assert f"expected {needed} or more pictures of every class" in result.output
    assert f"got {needed - 1} of 'scarce'; add pictures" in result.output
    assert not (tmp_path / "draft.toml").exists()
    with pytest.raises(DataError, match=f"expected {needed} or more"):  # as the division says it
        load_splits(Data(name="folder", size=16, test=0.2), tmp_path / "set", seed=0)
    for part in parts:
        write(tmp_path / "set" / part, "third", needed, (16, 16))
        Image.new("RGB", (16, 16)).save(tmp_path / "set" / part / "scarce" / "more.png")
    result = call("init", tmp_path / "set", "--out", tmp_path / "draft.toml")
    assert result.exit_code == 0
    assert f"of {needed} pictures of 'scarce' are left to learn from, fewer than 10" in result.stderr


def test_a_class_that_val_lacks_is_refused_as_train_would(tmp_path):
    for part, names in (("train", "abc"), ("val", "ab"), ("test", "abc")):
        for name in names:
            write(tmp_path / "set" / part, 2 * name, 6, (16, 16))
    result = call("init", tmp_path / "set", "--out", tmp_path / "draft.toml")
    assert result.exit_code == 1
    assert "every class in val, one each for tune and calib, got 0 of 'cc'; move some" in result.output
    with pytest.raises(DataError, match="every class for tune and calib, got fewer of 'cc'"):
        load_splits(Data(name="folder"), tmp_path / "set", seed=0)
