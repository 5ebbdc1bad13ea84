"""Planted copies are found, different pictures are not, whatever the size and number."""

import numpy as np
import pytest

from eed_edge.recipe import Data
from eed_edge.train.data.duplicates import block_means, count_duplicates, duplicates_line, near_duplicates
from eed_edge.train.data.splits import load_splits


def blurred(count, seed, channels=3, size=32):
    """Smooth random pictures, ``(n, c, h, w)`` uint8, as natural ones are smooth."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, channels, 8, 8))
    fine = coarse.repeat(size // 8, axis=2).repeat(size // 8, axis=3)
    return (0.9 * fine + rng.uniform(0, 25, fine.shape)).astype(np.uint8)


def changed(image, how):
    grey = image.astype(int)
    noise = np.random.default_rng(7).integers(-3, 4, image.shape)
    altered = {
        "equal": grey,
        "brighter by 1": grey + 1,
        "brighter by 12": grey + 12,
        "mirrored": grey[..., ::-1],
        "with noise": grey + noise,
        "mirrored and brighter": grey[..., ::-1] + 1,
    }[how]
    return altered.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("equal", "exact"),
        ("brighter by 1", "near"),
        ("brighter by 12", "near"),
        ("mirrored", "near"),
        ("with noise", "near"),
        ("mirrored and brighter", "near"),
    ],
)
def test_a_planted_copy_is_found_once(how, kind, size, channels):
    train, tune = blurred(200, 0, channels, size), blurred(50, 1, channels, size)
    none = count_duplicates({"train": train, "tune": tune})
    assert none == {"train and tune": {"exact": 0, "near": 0}}
    tune[17] = changed(train[123], how)
    counts = count_duplicates({"train": train, "tune": tune})["train and tune"]
    assert counts == {"exact": 0, "near": 0, kind: 1}


def test_the_search_by_block_means_misses_no_copy_that_a_look_at_every_pair_finds():
    rng = np.random.default_rng(3)
    train, tune = blurred(60, 4), blurred(40, 5)
    for i in range(0, 40, 2):  # copies with more and more noise, from clear ones to none
        noisy = train[i].astype(int) + rng.integers(-i, i + 1, train[i].shape)
        tune[i] = noisy.clip(0, 255).astype(np.uint8)
    counts = near_duplicates(train, tune, block_means(train), block_means(tune))

    def centred(image):
        return image - image.mean((1, 2), keepdims=True)

    expected = np.zeros(40, np.bool_)
    for j, image in enumerate(tune):
        for other in train:
            for shown in (image, image[..., ::-1]):
                x, y = centred(shown.astype(float)), centred(other.astype(float))
                near = np.abs(x - y).mean() <= 8 and np.corrcoef(x.ravel(), y.ravel())[0, 1] >= 0.95
                expected[j] |= near
    np.testing.assert_array_equal(counts, expected)
    assert 5 < expected.sum() < 20


def test_of_1797_different_digits_hardly_any_pass_for_duplicates():
    splits = load_splits(Data(name="digits"), None, seed=0)
    parts = {name: getattr(splits, name).images for name in ("train", "tune", "calib", "test")}
    counts = count_duplicates(parts)
    assert len(counts) == 6
    assert sum(row["exact"] + row["near"] for row in counts.values()) <= 4


def test_tiny_and_flat_parts_have_counts_too():
    flat = np.zeros((3, 1, 4, 4), np.uint8)
    one = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    counts = count_duplicates({"train": flat, "tune": flat[:1], "calib": one})
    assert counts["train and tune"] == {"exact": 1, "near": 0}
    assert counts["train and calib"] == counts["tune and calib"] == {"exact": 0, "near": 0}
    assert duplicates_line({"train and tune": counts["train and tune"]}) == (
        "duplicate pictures: train and tune 1 equal, 0 nearly"
    )
