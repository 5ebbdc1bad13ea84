"""Which images the page shows, and how it says that digits lie in them."""

import dataclasses

import numpy as np
import pytest

from eed_edge import manifest as contract
from eed_edge.errors import InputError
from eed_edge.runtime.bundle.folder import open_bundle
from eed_edge.web.page_samples import drawing_hint, read_samples
from tests.web.page_bundles import CLASSES, MEMBERS, bundle_answering, bundle_of_large_pictures

DIGITS = tuple("0123456789")
GREY = contract.InputSpec(name="images", shape=("N", 1, 8, 8), channels="L", preprocess=contract.Preprocess())


def save(folder, **changed):
    count = changed.pop("count", 6)
    arrays = {
        "images": np.arange(count * MEMBERS * CLASSES, dtype=np.uint8).reshape(count, MEMBERS, CLASSES, 1),
        "labels": np.arange(count) % CLASSES,
        "submodels_used": np.array([1, 1, 1, 1, 3, 2]),
    }
    folder.mkdir(exist_ok=True)
    np.savez(folder / "evaluation.npz", **{**arrays, **changed})
    return folder


def test_images_of_each_number_of_sub_models_come_in_turn(tmp_path):
    bundle = open_bundle(bundle_answering(tmp_path / "bundle"))
    samples = read_samples(bundle, save(tmp_path / "run"))
    assert samples.labels == [0, 5, 4, 1, 2, 3]
    assert samples.from_run


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": np.full(6, CLASSES)}, f"expected labels from 0 to {CLASSES - 1}"),
        ({"images": np.zeros((6, 8, 8, 1), np.uint8)}, r"expected images \(1, 4, 6\) .*, got \(1, 8, 8\)"),
        ({"submodels_used": np.zeros(6)}, "expected images with their recorded answers"),
    ],
)
def test_images_that_do_not_fit_the_bundle_are_refused(tmp_path, changed, message):
    bundle = open_bundle(bundle_answering(tmp_path / "bundle"))
    with pytest.raises(InputError, match=message):
        read_samples(bundle, save(tmp_path / "run", **changed))


def test_a_run_without_test_images_says_which_command_stores_them(tmp_path):
    bundle = open_bundle(bundle_answering(tmp_path / "bundle"))
    with pytest.raises(InputError, match="got none; run eed-edge attack"):
        read_samples(bundle, tmp_path)


def test_of_large_images_fewer_are_shown(tmp_path):
    bundle = open_bundle(bundle_of_large_pictures(tmp_path / "bundle", count=16, size=(3, 500, 400)))
    assert len(read_samples(bundle, None).images) == 3  # 2.4 MB each, of 8.4 MB


@pytest.mark.parametrize("ground", [0, 1])
def test_digits_are_drawn_on_the_ground_and_in_the_height_that_the_images_have(ground):
    image = np.full((1, 1, 8, 8), ground, np.float32)
    image[0, 0, 1:7, 3] = 1 - ground
    assert drawing_hint(GREY, DIGITS, image) == {"ground": ground, "fill": 0.75}


def test_what_is_no_digit_is_not_drawn():
    image = np.zeros((1, 1, 8, 8), np.float32)
    colour = dataclasses.replace(GREY, shape=("N", 3, 8, 8), channels="RGB")
    assert drawing_hint(GREY, ("0", "cat"), image) is None
    assert drawing_hint(colour, DIGITS, np.zeros((1, 3, 8, 8), np.float32)) is None
