"""Verdicts per image: a round trip, images in common, and files that are refused."""

from itertools import pairwise

import numpy as np
import pytest

from eed_edge.errors import InputError
from eed_edge.evaluate import evaluate
from eed_edge.evaluate.per_image import (
    AttackVerdicts,
    PerImage,
    common_images,
    read_per_image,
    write_per_image,
)
from eed_edge.evaluate.stored_results import store_verdicts

NETWORKS = ("dense", "narrow", "single", "static", "dynamic")


def some(rows, seed=0):
    rng = np.random.default_rng(seed)
    return AttackVerdicts(rows, {name: rng.random(len(rows)) < 0.5 for name in NETWORKS})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("available", [7, 467, 10_000])
def test_a_smaller_draw_of_test_images_is_a_part_of_a_larger_one(available, seed):
    draws = [evaluate.draw_rows(available, count, seed) for count in (3, available // 2, available)]
    for small, large in pairwise(draws):
        assert set(small) <= set(large)
        assert (np.diff(large) > 0).all()
    np.testing.assert_array_equal(draws[-1], evaluate.draw_rows(available, None, seed))


def test_what_is_written_is_read_and_takes_about_a_bit_each(tmp_path):
    path, attacks = tmp_path / "per_image.npz", {"clean": some(np.arange(10_000))}
    attacks["pgd20"] = some(evaluate.draw_rows(10_000, 1003, 5), 1)
    write_per_image(path, PerImage("abc", 10_000, attacks))
    read = read_per_image(path)
    assert (read.evaluated, read.test_images, list(read.attacks)) == ("abc", 10_000, list(attacks))
    for name, each in attacks.items():
        np.testing.assert_array_equal(read.attacks[name].rows, each.rows)
        assert list(read.attacks[name].right) == list(NETWORKS)
        for network in NETWORKS:
            np.testing.assert_array_equal(read.attacks[name].right[network], each.right[network])
    assert path.stat().st_size < (len(NETWORKS) * 11_003 + 20_000) / 8 + 2000


def test_two_parts_are_paired_on_the_images_that_both_have():
    large, small = some(np.array([0, 2, 3, 5, 8])), some(np.array([1, 3, 8]), 1)
    first, second = common_images(large, small)
    assert first.rows.tolist() == second.rows.tolist() == [3, 8]
    assert first.right["dense"].tolist() == large.right["dense"][[2, 4]].tolist()
    assert second.right["dense"].tolist() == small.right["dense"][[1, 2]].tolist()


def test_a_part_keeps_the_verdicts_of_other_attacks_on_the_same_files_alone(tmp_path):
    path = tmp_path / "per_image.npz"
    many, few = some(np.arange(9)), some(np.array([1, 4]), 1)

    def stored(evaluated, attacks, *, adds):
        store_verdicts(path, PerImage(evaluated, 9, attacks), adds=adds)
        return {name: len(each.rows) for name, each in read_per_image(path).attacks.items()}

    assert stored("abc", {"clean": few, "cw": few}, adds=True) == {"clean": 2, "cw": 2}
    assert stored("abc", {"clean": many, "pgd20": many}, adds=True) == {"clean": 9, "cw": 2, "pgd20": 9}
    assert stored("of others", {"clean": few}, adds=True) == {"clean": 2}
    assert stored("of others", {"pgd20": few}, adds=False) == {"pgd20": 2}


def test_files_that_are_missing_cut_or_of_another_format_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "per_image.npz"
    with pytest.raises(InputError, match="No such file"):
        read_per_image(path)
    monkeypatch.setattr("eed_edge.evaluate.per_image.PER_IMAGE_FORMAT", 2)
    write_per_image(path, PerImage("abc", 4, {"clean": some(np.arange(4))}))
    monkeypatch.undo()
    with pytest.raises(InputError, match="format 1, got: format 2; delete it"):
        read_per_image(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="expected verdicts of format 1"):
        read_per_image(path)
