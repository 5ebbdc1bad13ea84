"""Whatever is accepted as images gives the answer of the same images as ``(n, c, h, w)`` float32."""

import dataclasses
import sys

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import InputError
from eed_edge.images.preprocess import open_picture, prepare
from eed_edge.runtime.engine.accepted_images import to_images
from tests.runtime.conftest import make_manifest

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
COLOUR = make_manifest([b""], {"golden.npz": b""}, size=(3, 4, 5)).input
GREY = make_manifest([b""], {"golden.npz": b""}, size=(1, 4, 5)).input


def resized(spec, *size, **steps):
    """The same input with other preprocessing."""
    changed = dataclasses.replace(spec.preprocess, resize=size or None, **steps)
    return dataclasses.replace(spec, preprocess=changed)


def pictures(spec, n=3):
    return RNG.integers(0, 256, (n, *spec.size), dtype=np.uint8)


@pytest.mark.parametrize("spec", [COLOUR, GREY])
def test_arrays_in_every_layout_and_type_are_the_same_images(spec):
    pixels = pictures(spec)
    expected = (pixels / 255).astype(np.float32)
    last = pixels.transpose(0, 2, 3, 1)
    layouts = {"channels first": pixels, "channels last": last}
    if spec is GREY:
        layouts["without channels"] = last[..., 0]
    for arranged in layouts.values():
        for value in (arranged, (arranged / 255).astype(np.float32), arranged / 255):
            actual = to_images(value, spec)
            assert actual.dtype == np.float32
            assert np.abs(actual - expected).max() < 1e-7
            assert np.array_equal(to_images(value[1], spec), actual[1:2])
            assert np.array_equal(to_images(list(value), spec), actual)
            assert np.array_equal(to_images(value[:0], spec), actual[:0])


def test_a_batch_of_the_networks_kind_is_not_copied():
    images = RNG.random((3, *COLOUR.size), np.float32)
    assert to_images(images, COLOUR) is images


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize("spec", [resized(COLOUR, 4, 5), resized(GREY, 4, 5)])
def test_pictures_of_any_size_are_prepared_as_files_are(spec, shape, tmp_path):
    picture = RNG.integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(picture[:, :, 0] if shape[2:] == (1,) else picture)
    image.save(tmp_path / "a.png")
    expected = open_picture(tmp_path / "a.png", spec)[None]
    for value in (picture, image, tmp_path / "a.png", str(tmp_path / "a.png"), [picture]):
        assert np.array_equal(to_images(value, spec), expected)
    two = to_images([tmp_path / "a.png", image], spec)
    assert np.array_equal(two, np.concatenate([expected, expected]))
    if len(shape) == 3:
        assert np.array_equal(to_images(np.stack([picture, picture]), spec), two)


def test_a_picture_of_the_right_size_is_cut_as_its_file_is_but_the_networks_input_is_taken_as_it_is():
    spec = resized(COLOUR, shorter_side=8, crop=(4, 5))
    picture = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_images(picture, spec)[0], prepare(picture, spec))
    first = picture.transpose(2, 0, 1)
    assert np.array_equal(to_images(first, spec)[0], (first / 255).astype(np.float32))


def test_a_pil_picture_is_turned_as_its_exif_says():
    spec = resized(GREY, 4, 5)
    image = Image.fromarray(RNG.integers(0, 256, (9, 7), dtype=np.uint8))
    turned = image.transpose(Image.Transpose.ROTATE_180)
    image.getexif()[0x0112] = 3
    assert np.array_equal(to_images(image, spec), to_images(turned, spec))


@pytest.mark.parametrize("bound", [0, 1])
def test_pixels_that_rounding_left_outside_are_clipped(bound):
    images = np.full((2, *GREY.size), bound + (2 * bound - 1) * 1e-6, np.float32)
    assert np.array_equal(to_images(images, GREY), np.full_like(images, bound))
    assert images.flat[0] != bound  # the caller's array stays


def test_an_array_of_another_library_is_taken_by_what_it_says_of_itself():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.full(GREY.size, 51, np.uint8)

    assert np.array_equal(to_images(Tensor(), GREY), np.full((1, *GREY.size), 0.2, np.float32))


class Stubborn:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach() first")

    def __repr__(self):
        return "a long list of numbers"


REFUSED = {
    "a number": (
        5,
        COLOUR,
        r"expected images, a numpy array \(n, 3, 4, 5\), got int; give an array, the path",
    ),
    "nested lists": ([[0.5]], COLOUR, r"expected a list of arrays, paths or PIL pictures, got \[0.5\] at 0"),
    "a list of numbers": ([1, 2], COLOUR, "numbers go into a numpy array"),
    "a batch in a list": ([np.zeros((2, 3, 4, 5))], COLOUR, "image 0 of the list: expected one image, got 2"),
    "integers": (np.zeros((1, 3, 4, 5), int), COLOUR, r"got int64; if the pixels go from 0 to 255, convert"),
    "no file": ("none.png", COLOUR, "none.png: expected a readable picture"),
    "what cannot be converted": (Stubborn(), COLOUR, r"expected images, got Stubborn: call detach\(\) first"),
    "a grey float image": (np.zeros((4, 5)), COLOUR, r"got \(4, 5\); one grey image for a network of colour"),
    "colour for grey": (
        np.zeros((1, 3, 4, 5)),
        GREY,
        r"got \(1, 3, 4, 5\); make them grey, or give the pict",
    ),
    "another size": (np.zeros((1, 3, 9, 9)), COLOUR, r"got \(1, 3, 9, 9\); resize them to 4x5, or give"),
    "bytes of another size": (
        np.zeros((3, 9, 9), np.uint8),
        COLOUR,
        r"got \(3, 9, 9\); put the channels last",
    ),
    "a scalar": (np.float32(1), COLOUR, r"expected images \(n, 3, 4, 5\), got \(\); resize"),
    "too large for float32": (np.full((1, 3, 4, 5), 1e300), COLOUR, "got inf to inf; look where"),
    "far above 255": (np.full((1, 3, 4, 5), 65535.0), COLOUR, r"got 65535 to 65535; scale them to \[0, 1\]"),
    "deep colours": (Image.new("F", (5, 4)), GREY, "expected 8 or 16 bits per channel, got mode F"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_with_its_own_remedy(case):
    value, spec, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        to_images(value, spec)


def test_a_truncated_pil_picture_is_refused(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (40, 50), dtype=np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-200])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(InputError, match="readable picture, got: "):
        to_images(image, resized(GREY, 4, 5))


def test_without_pillow_nothing_is_a_pil_picture(monkeypatch):
    monkeypatch.delitem(sys.modules, "PIL.Image")
    with pytest.raises(InputError, match="expected images, a numpy array"):
        to_images(object(), GREY)


def test_a_bundle_and_its_stream_answer_all_kinds_alike(tiny, tmp_path):
    net, pixels = eed_edge.load(tiny.folder), RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = net((pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)).probs
    kinds = [pixels, pixels / 255, Image.fromarray(pixels), tmp_path / "a.png", pixels.transpose(2, 0, 1)]
    for value, streamed in zip(kinds, net.predict_stream(kinds), strict=True):
        assert np.array_equal(net(value).probs, expected)
        assert np.array_equal(streamed.probs, expected)
        assert np.array_equal(net.member_probs(value)[:, 0].shape, (3, 3))


def test_the_repr_tells_classes_input_submodels_and_rule(tiny):
    assert repr(eed_edge.load(tiny.folder)) == (
        "<Cascade 'tiny': 3 classes (cat, dog, owl); images (n, 3, 4, 4) in [0, 1], RGB; 3 float32"
        " sub-models; rule confidence (threshold 0.6)>"
    )
    assert repr(eed_edge.load(tiny.folder, rule="agreement", max_submodels=2)).endswith(
        "; 3 float32 sub-models, at most 2 of them; rule agreement (votes 2)>"
    )
