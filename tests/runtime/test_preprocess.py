import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eed_edge.errors import DeviceError, InputError
from eed_edge.images import preprocess
from eed_edge.images.preprocess import (
    open_picture,
    prepare,
    prepare_uint8,
    read_picture,
)
from eed_edge.manifest import InputSpec, Preprocess

Image = pytest.importorskip("PIL.Image")

GREY = arrays(np.uint8, (4, 5))
RGB = arrays(np.uint8, (4, 5, 3))
RGBA = arrays(np.uint8, (4, 5, 4))


def spec(height=4, width=5, channels="RGB", **steps):
    return InputSpec(
        name="images",
        shape=("N", 3 if channels == "RGB" else 1, height, width),
        channels=channels,
        preprocess=Preprocess(**steps),
    )


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(RGB)
def test_an_rgb_picture_of_the_right_size_is_only_scaled_and_turned_channels_first(picture):
    image = prepare(picture, spec())
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.float32, (3, 4, 5), True)
    np.testing.assert_array_equal(image, np.moveaxis(picture, 2, 0) / np.float32(255))


@given(RGB)
def test_grey_is_the_luma_that_pillow_computes(picture):
    expected = np.asarray(Image.fromarray(picture).convert("L"))
    np.testing.assert_array_equal(prepare_uint8(picture, spec(channels="L"))[0], expected)


@given(GREY)
def test_a_grey_picture_is_repeated_for_an_rgb_network(picture):
    for same in (picture, picture[:, :, None]):
        np.testing.assert_array_equal(prepare_uint8(same, spec(grey="repeat")), [picture] * 3)


@given(RGBA, st.sampled_from([("black", 0), ("white", 255)]))
def test_transparent_pixels_let_the_background_through(picture, background):
    name, value = background
    share = picture[:, :, 3:] / 255
    expected = np.rint(picture[:, :, :3] * share + value * (1 - share))
    np.testing.assert_array_equal(np.moveaxis(prepare_uint8(picture, spec(alpha=name)), 0, 2), expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("channels", "shape"), [("RGB", (7, 9, 3)), ("L", (7, 9))])
def test_resizing_is_what_pillow_does_with_the_named_filter(interpolation, channels, shape):
    picture = noise(*shape)
    image = Image.fromarray(picture).resize((6, 5), Image.Resampling[interpolation.upper()])
    got = prepare_uint8(picture, spec(5, 6, channels, resize=(5, 6), interpolation=interpolation))
    np.testing.assert_array_equal(got, np.asarray(image).reshape(5, 6, -1).transpose(2, 0, 1))


def test_a_picture_of_the_right_size_needs_no_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert prepare(noise(4, 5, 3), spec(resize=(4, 5))).shape == (3, 4, 5)


@given(st.integers(4, 9), st.integers(4, 9))
def test_the_crop_is_the_middle_with_the_odd_pixel_cut_at_the_far_side(height, width):
    picture = noise(height, width, 3)
    rows, columns = np.arange(height), np.arange(width)
    while len(rows) > 3:
        rows = rows[:-1] if len(rows) % 2 == 0 else rows[1:]
    while len(columns) > 4:
        columns = columns[:-1] if len(columns) % 2 == 1 else columns[1:]
    got = prepare_uint8(picture, spec(3, 4, crop=(3, 4)))
    np.testing.assert_array_equal(got, picture[np.ix_(rows, columns)].transpose(2, 0, 1))


def stored(tmp_path, image, **options):
    path = tmp_path / "picture.png"
    image.save(path, **options)
    return path


def test_a_stored_picture_gives_what_its_pixels_give(tmp_path):
    picture = noise(4, 5, 3)
    path = stored(tmp_path, Image.fromarray(picture))
    np.testing.assert_array_equal(open_picture(path, spec()), prepare(picture, spec()))


RGB_NOISE = Image.fromarray(noise(4, 5, 3))
GREY_NOISE = Image.fromarray(noise(4, 5))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY_NOISE, GREY_NOISE),
        (GREY_NOISE.convert("1"), GREY_NOISE.convert("1").convert("L")),
        (GREY_NOISE.convert("LA"), GREY_NOISE.convert("RGBA")),
        (RGB_NOISE.quantize(16), RGB_NOISE.quantize(16).convert("RGB")),
        (RGB_NOISE.convert("RGBA"), RGB_NOISE.convert("RGBA")),
        (Image.fromarray(noise(4, 5).astype(np.uint16) * 256 + 255), GREY_NOISE),
    ],
    ids=["grey", "bilevel", "grey+alpha", "palette", "rgba", "16 bit"],
)
def test_every_kind_of_png_is_read_as_grey_rgb_or_rgba(image, expected, tmp_path):
    np.testing.assert_array_equal(read_picture(stored(tmp_path, image)), np.asarray(expected))


def test_a_palette_with_a_transparent_colour_is_read_as_rgba(tmp_path):
    image = RGB_NOISE.quantize(16)
    picture = read_picture(stored(tmp_path, image, transparency=3))
    np.testing.assert_array_equal(picture[:, :, 3], np.where(np.asarray(image) == 3, 0, 255))


def test_a_16_bit_pgm_keeps_its_high_byte(tmp_path):
    values = noise(4, 5).astype(">u2") * 256 + 255
    (tmp_path / "deep.pgm").write_bytes(b"P5 5 4 65535\n" + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.pgm"), noise(4, 5))


def test_a_cmyk_jpeg_is_read_as_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "cyan.jpg", quality=95)
    picture = read_picture(tmp_path / "cyan.jpg")
    np.testing.assert_allclose(picture.reshape(-1, 3).mean(0), [0, 255, 255], atol=4)


@pytest.mark.parametrize(("exif", "turn"), [(True, -1), (False, 0)])
def test_exif_orientation_turns_the_picture_only_when_asked(exif, turn, tmp_path):
    picture = noise(4, 4, 3)
    orientation = Image.Exif()
    orientation[0x0112] = 6  # shown turned clockwise
    path = stored(tmp_path, Image.fromarray(picture), exif=orientation)
    expected = np.rot90(picture, turn).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(open_picture(path, spec(4, 4, exif=exif)), expected)


@pytest.mark.parametrize(
    ("picture", "steps", "message"),
    [
        (noise(4, 5, 3).astype(float), {}, r"expected a picture of uint8 .* got float64 \(4, 5, 3\)"),
        (noise(4, 5, 2), {}, r"expected a picture of uint8 .* got uint8 \(4, 5, 2\)"),
        (noise(0, 5, 3), {}, r"expected a picture of uint8 .* got uint8 \(0, 5, 3\)"),
        (noise(5), {}, r"expected a picture of uint8 .* got uint8 \(5,\)"),
        (noise(5, 5, 3), {}, r"expected a picture of 4x5 pixels .* got 5x5"),
        (noise(3, 9, 3), {"crop": (4, 5)}, r"expected a picture of at least 4x5 pixels .* got 3x9"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(picture, steps, message):
    with pytest.raises(InputError, match=message):
        prepare(picture, spec(**steps))


def gif():
    stream = io.BytesIO()
    GREY_NOISE.save(stream, "GIF")
    return stream.getvalue()


def truncated():
    stream = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(stream, "PNG")
    return stream.getvalue()[:-2000]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "cannot identify"),
        (b"plain text", "cannot identify"),
        (gif(), "cannot identify"),
        (truncated(), "truncated"),
        (b"P5 10000 10000 255\n", "expected at most 50,000,000 pixels, got 100,000,000"),
        (b"P5 100000 100000 255\n", "bomb"),
    ],
    ids=["missing", "empty", "text", "gif", "truncated", "large", "bomb"],
)
def test_an_unreadable_picture_is_named_in_one_line(content, reason, tmp_path):
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"picture\.png: expected a readable picture .*{reason}") as caught:
        open_picture(path, spec())
    assert "\n" not in str(caught.value)


def test_a_float_picture_is_refused():
    with pytest.raises(InputError, match="expected 8 or 16 bits per channel, got mode F"):
        preprocess._to_uint8(Image.new("F", (2, 2)))


def test_a_picture_of_another_size_is_named(tmp_path):
    path = stored(tmp_path, Image.fromarray(noise(9, 9, 3)))
    with pytest.raises(InputError, match=r"picture\.png: expected a picture of 4x5 pixels"):
        open_picture(path, spec())


def test_without_pillow_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DeviceError, match=r"expected Pillow.*pip install '\.\[images\]'"):
        open_picture(tmp_path / "picture.png", spec())
