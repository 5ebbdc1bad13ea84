"""Corruptions by their properties, calibration error by hand and by a plain loop."""

import colorsys
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from eed_edge.errors import InputError
from eed_edge.evaluate.metrics import shift
from eed_edge.evaluate.metrics.corruptions import (
    NO_CLASS,
    PARAMETERS,
    STRENGTHS,
    corrupt,
    no_class_images,
)
from eed_edge.runtime.engine.cascade import Cascade


def pictures(size, count=6, seed=0):
    """Smooth pictures with an edge, in [0, 1], as photographs have them."""
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.random((count, *size)), (0, 0, 1, 1))
    rough[..., size[2] // 2 :] += 0.3
    return (rough / rough.max()).astype(np.float32)


SIZES = [(1, 8, 8), (3, 8, 8), (1, 16, 16), (3, 32, 32), (3, 40, 24)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PARAMETERS)
def test_stronger_is_further_from_the_image_and_all_stay_in_range(name, size):
    images = pictures(size)
    made = [corrupt(images, name, strength, seed=3) for strength in STRENGTHS]
    for one in made:
        assert one.shape == images.shape
        assert one.dtype == np.float32
        assert one.min() >= 0
        assert one.max() <= 1
    distances = [float(((one - images) ** 2).mean()) for one in made]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("name", [*PARAMETERS, *NO_CLASS])
def test_the_seed_decides_and_batches_do_not(name):
    images = pictures((3, 8, 8), count=7)

    def make(batch, first=0, seed=5):
        if name in NO_CLASS:
            return no_class_images(batch, name, seed=seed, first=first)
        return corrupt(batch, name, 2, seed=seed, first=first)

    together = make(images)
    np.testing.assert_array_equal(together, make(images))
    np.testing.assert_array_equal(together, np.concatenate([make(images[:3]), make(images[3:], first=3)]))
    if name in ("noise", *NO_CLASS):
        assert not np.array_equal(together, make(images, seed=6))


@pytest.mark.parametrize("size", [(3, 32, 32), (1, 64, 96)])
def test_blur_is_scipys_gaussian_with_the_edge_going_on(size):
    images = pictures(size, count=2)
    for deviation, strength in zip(PARAMETERS["blur"], STRENGTHS, strict=True):
        pixels = deviation * max(1, min(size[1:]) / 32)
        expected = gaussian_filter(images.astype(float), (0, 0, pixels, pixels), mode="nearest")
        np.testing.assert_allclose(corrupt(images, "blur", strength, seed=0), expected, atol=2e-3)


def test_contrast_keeps_every_channels_mean_and_shrinks_the_rest():
    images = pictures((3, 8, 8)) * 0.4 + 0.3
    made = corrupt(images, "contrast", 2, seed=0)
    np.testing.assert_allclose(made.mean((2, 3)), images.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(made.std((2, 3)), 0.4 * images.std((2, 3)), atol=1e-6)


def test_jpeg_is_what_pillow_reads_back():
    image = pictures((1, 16, 16), count=1)
    stream = io.BytesIO()
    Image.fromarray(np.rint(image[0, 0] * 255).astype(np.uint8)).save(stream, "JPEG", quality=40)
    expected = np.asarray(Image.open(stream)) / np.float32(255)
    np.testing.assert_array_equal(corrupt(image, "jpeg", 3, seed=0)[0, 0], expected)


def test_a_constant_image_is_grey_noise_covers_the_range_and_shuffling_keeps_the_pixels():
    images = pictures((3, 8, 8), count=40)
    grey = no_class_images(images, "constant grey", seed=0)
    assert (grey == grey[:, :1, :1, :1]).all()
    assert len(np.unique(grey)) == 40
    noise = no_class_images(images, "uniform noise", seed=0)
    assert 0.48 < noise.mean() < 0.52
    shuffled = no_class_images(images, "shuffled pixels", seed=0)
    before, after = (np.sort([tuple(p) for p in a[0].reshape(3, -1).T], axis=0) for a in (images, shuffled))
    np.testing.assert_array_equal(before, after)
    assert not np.array_equal(shuffled[0], images[0])


@pytest.mark.parametrize(
    ("name", "strength", "match"),
    [("fog", 1, "expected a corruption out of noise"), ("noise", 4, "got 'noise' with 4")],
)
def test_unknown_corruptions_are_refused(name, strength, match):
    with pytest.raises(InputError, match=match):
        corrupt(pictures((1, 8, 8)), name, strength, seed=0)


def test_other_images_than_grey_and_rgb_and_unknown_kinds_of_no_class_are_refused():
    with pytest.raises(InputError, match=r"expected grey or RGB images .* got shape \(2, 4, 8, 8\)"):
        corrupt(np.zeros((2, 4, 8, 8), np.float32), "noise", 1, seed=0)
    with pytest.raises(InputError, match="out of uniform noise"):
        no_class_images(pictures((1, 8, 8)), "cats", seed=0)


def test_calibration_error_by_hand():
    """Two bins of ten: 0.95 and 1.0 (mean 0.975, accuracy 0.5), and 0.6 twice (accuracy 1)."""
    confidence = np.array([0.95, 1.0, 0.6, 0.6], np.float32)
    right = np.array([True, False, True, True])
    assert shift.expected_calibration_error(confidence, right, bins=10) == pytest.approx(
        0.5 * abs(0.5 - 0.975) + 0.5 * abs(1 - 0.6)
    )


def test_a_confidence_on_the_edge_belongs_to_the_bin_below():
    confidence, right = np.array([0.5, 0.45], np.float32), np.array([True, False])
    error = shift.expected_calibration_error(confidence, right, bins=10)
    assert error == pytest.approx(abs(0.5 - 0.475))


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.random(300).astype(np.float32)
    confidence[:3] = 0, 1, 0.5
    right = rng.random(300) < confidence**2
    expected = 0.0
    for b in range(15):
        low, high = b / 15, (b + 1) / 15
        inside = [i for i in range(300) if low < confidence[i] <= high or (b == 0 and confidence[i] == 0)]
        if inside:
            gap = np.mean(right[inside]) - np.mean(confidence[inside].astype(float))
            expected += len(inside) / 300 * abs(gap)
    assert shift.expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_calibration_error_is_near_zero_for_a_calibrated_answer_and_large_for_a_boaster():
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000).astype(np.float32)
    calibrated = rng.random(20_000) < confidence
    assert shift.expected_calibration_error(confidence, calibrated) < 0.02
    assert shift.expected_calibration_error(np.ones(100, np.float32), np.zeros(100, bool)) == 1


@pytest.mark.parametrize(
    ("confidence", "right", "match"),
    [
        (np.ones(3, np.float32), np.ones(2, bool), "verdicts of the same images"),
        (np.ones(0, np.float32), np.ones(0, bool), "verdicts of the same images"),
        (np.full(2, 1.5, np.float32), np.ones(2, bool), "up to 1.5; give probabilities"),
    ],
)
def test_calibration_error_of_nonsense_is_refused(confidence, right, match):
    with pytest.raises(InputError, match=match):
        shift.expected_calibration_error(confidence, right)


def test_the_part_has_all_kinds_and_its_clean_row_is_the_deployed_answer(models, images_of_test):
    seen = []
    inverted = 1 - images_of_test.images.numpy() / np.float32(255)
    figures = shift.measure_shift(
        models.deployed,
        images_of_test[slice(0, 60)],
        every=images_of_test,
        attacked={"pgd20": inverted[:60]},
        seed=0,
        on_progress=lambda *row: seen.append(row),
    )
    other = models.deployed(inverted[:60])
    (attacked,) = figures["attacked"]
    assert attacked["name"] == "pgd20"
    assert attacked["accuracy"] == (other.labels == images_of_test.labels.numpy()[:60]).mean()
    assert attacked["abstained"] == other.abstained.mean()
    answer = models.deployed(images_of_test.images.numpy() / np.float32(255))
    right = answer.labels == images_of_test.labels.numpy()
    assert (figures["images"], figures["clean"]["images"]) == (60, 80)
    assert figures["clean"]["accuracy"] == right.mean()
    assert figures["clean"]["submodels_used"] == answer.submodels_used.mean()
    clean = figures["clean"]
    assert clean["abstained"] == answer.abstained.mean()
    assert clean["abstained_right"] == (answer.abstained & right).sum() / right.sum()
    assert clean["abstained_wrong"] == (answer.abstained & ~right).sum() / (~right).sum()
    assert 0 < clean["abstained"] < 1
    assert figures["clean"]["ece"] == shift.expected_calibration_error(answer.probs.max(1), right)
    net = models.deployed
    without = dataclasses.replace(net.manifest, temperatures=None)
    bare = Cascade(without, net.submodels, rule=net.rule, parameters=net.parameters, max_submodels=2)
    before = bare(images_of_test.images.numpy() / np.float32(255)).probs.max(1)
    assert not np.allclose(before, answer.probs.max(1))
    expected = shift.expected_calibration_error(before, right)
    assert figures["clean"]["ece_uncalibrated"] == pytest.approx(expected, abs=1e-5)
    kinds = [(row["name"], row["strength"]) for row in figures["corruptions"]]
    assert kinds == [(name, strength) for name in PARAMETERS for strength in STRENGTHS]
    assert [row["name"] for row in figures["no_class"]] == list(NO_CLASS)
    low, high = figures["corruptions"][0]["interval"]
    assert low <= figures["corruptions"][0]["accuracy"] <= high
    assert seen[-1] == ("shift", 19 * 60, 19 * 60)


def test_batches_of_the_measurement_do_not_matter(models, images_of_test, monkeypatch):
    together = shift.measure_shift(
        models.deployed, images_of_test, every=images_of_test, seed=0, on_progress=lambda *_: None
    )
    monkeypatch.setattr(shift, "BATCH", 33)
    apart = shift.measure_shift(
        models.deployed, images_of_test, every=images_of_test, seed=0, on_progress=lambda *_: None
    )
    assert apart == together


def test_brightness_raises_the_hsv_value_alone():
    images = pictures((3, 8, 8), count=2)
    images[0, :, 0, 0] = 0
    made = corrupt(images, "brightness", 2, seed=0)
    before, after = (
        np.array([[colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(3, -1).T] for image in batch])
        for batch in (images, made)
    )
    np.testing.assert_allclose(after[..., 2], np.minimum(before[..., 2] + 0.15, 1), atol=1e-6)
    np.testing.assert_allclose(after[..., :2], before[..., :2], atol=1e-4)
