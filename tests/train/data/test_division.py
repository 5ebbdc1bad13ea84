"""Every part of a division has images of every class, and an ordinary division stays as it was."""

import numpy as np
import pytest

from eed_edge.errors import DataError
from eed_edge.train.data.division import divide

SHARES = {"tune": 0.1, "calib": 0.2}


def divided(labels, *, limit=0, seed=0, classes=None):
    names = [f"class {i}" for i in range(classes or int(labels.max()) + 1)]
    return divide(labels, SHARES, "train", classes=names, seed=seed, limit=limit)


def test_where_no_class_is_lost_the_parts_are_stretches_of_one_random_order():
    labels = np.arange(1000) % 2
    order = np.random.default_rng(7).permutation(1000)[:600]
    tune, calib, train = divided(labels, limit=600, seed=7)
    for places, expected in zip((tune, calib, train), (order[:60], order[60:180], order[180:]), strict=True):
        np.testing.assert_array_equal(places, expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("classes", "least", "limit"), [(43, 3, 0), (43, 7, 0), (43, 20, 129), (5, 3, 15)])
def test_no_class_is_lost_by_the_division_or_by_the_limit(seed, classes, least, limit):
    counts = np.random.default_rng(seed).integers(least, 3 * least, classes)
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), counts))
    parts = divided(labels, limit=limit, seed=seed)
    everything = np.concatenate(parts)
    assert len(set(everything.tolist())) == len(everything) == (limit or len(labels))
    for part in parts:
        assert set(labels[part]) == set(range(classes))
    again = divided(labels, limit=limit, seed=seed)
    assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))


def test_a_division_by_class_gives_each_class_its_share():
    labels = np.repeat(np.arange(40), 10)  # one image a class in tune: a random division loses some
    tune, calib, train = divided(labels)
    assert [np.bincount(labels[part]).tolist() for part in (tune, calib, train)] == [
        [1] * 40,
        [2] * 40,
        [7] * 40,
    ]
    assert (np.diff(labels[tune]) < 0).any()  # not class by class


@pytest.mark.parametrize(
    ("counts", "limit", "message"),
    [
        ([9, 2, 9], 0, r"expected 3 or more images of every class for tune, calib and train, got fewer of"
         r" 'class 1' \(2\); add images or leave the class out"),
        ([1] * 6, 0, r"'class 0' \(1\), 'class 1' \(1\), 'class 2' \(1\) and 3 more"),
        ([9, 9, 9], 8, r"data\.limit: expected 9 or more, 3 images of each of 3 classes .*, got 8; raise it"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused_with_the_class_and_the_remedy(counts, limit, message):
    with pytest.raises(DataError, match=message):
        divided(np.repeat(np.arange(len(counts)), counts), limit=limit)
