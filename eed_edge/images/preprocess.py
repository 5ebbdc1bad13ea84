"""Preprocessing from a picture to the network's input, shared by training and device.

The steps, in order: EXIF orientation, background colour behind transparent pixels, conversion to grey or RGB,
resizing (of both sides, or of the shorter one in proportion), centre crop, channels first, division by 255.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.errors import DeviceError, InputError, how_to_install
from eed_edge.files.regular_files import open_regular
from eed_edge.images.slow_pictures import check_decoder, check_jpeg
from eed_edge.manifest import InputSpec

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM")
MAX_PIXELS = 50_000_000
"""The largest picture; a file of a few bytes can claim any size."""
MAX_DECODED_PIXELS = 12_000_000
"""The most that are decoded: a larger JPEG is decoded at a reduced scale, other formats cannot be."""

EXIF_ORIENTATION = 0x0112
LONGEST = 8
"""The longer side, in shorter ones, of what is scaled to a shorter side."""


def open_picture(path: Path, spec: InputSpec) -> NDArray[np.float32]:
    """Read a picture file and convert it to the network's input.

    Returns:
        ``(c, h, w)`` float32 in [0, 1].

    Raises:
        InputError: not a readable picture, or the manifest's steps do not lead to the size (h, w).
        DeviceError: Pillow is not installed.
    """
    picture = read_picture(path, exif=spec.preprocess.exif, resized_to=decoded_for(spec))
    try:
        return prepare(picture, spec)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def decoded_for(spec: InputSpec) -> tuple[int, int] | None:
    """Least height and width to which ``prepare`` scales a picture, or None."""
    side = spec.preprocess.shorter_side
    return (side, side) if side is not None else spec.preprocess.resize


def prepare(picture: Uint8, spec: InputSpec) -> NDArray[np.float32]:
    """Convert a decoded picture to the network's input.

    Args:
        picture: uint8 ``(h, w)`` or ``(h, w, 1)`` grey, ``(h, w, 3)`` RGB or ``(h, w, 4)`` RGBA.

    Returns:
        ``(c, h, w)`` float32 in [0, 1]: ``prepare_uint8`` divided by 255.

    Raises:
        InputError: another dtype or shape, or the manifest's steps do not lead to the size (h, w).
        DeviceError: the picture must be resized and Pillow is not installed.
    """
    return prepare_uint8(picture, spec).astype(np.float32) / np.float32(255)


def prepare_uint8(picture: Uint8, spec: InputSpec) -> Uint8:
    """Convert a decoded picture to uint8 ``(c, h, w)``, the form in which training stores images."""
    _check_picture(picture)
    steps, (_, height, width) = spec.preprocess, spec.size
    pixels = picture if picture.ndim == 3 else picture[:, :, None]
    if pixels.shape[2] == 4:
        pixels = _blend_alpha(pixels, background=255 if steps.alpha == "white" else 0)
    if pixels.shape[2] == 3 and spec.channels == "L":
        pixels = _to_grey(pixels)
    if pixels.shape[2] == 1 and spec.channels == "RGB":
        pixels = np.repeat(pixels, 3, axis=2)
    if steps.shorter_side is not None:
        pixels = _scale_shorter_side(pixels, steps.shorter_side, steps.interpolation)
    if steps.resize is not None:
        pixels = _resize(pixels, steps.resize, steps.interpolation)
    if steps.crop is not None:
        pixels = _centre_crop(pixels, steps.crop)
    if pixels.shape[:2] != (height, width):
        raise InputError(
            f"expected a picture of {height}x{width} pixels (height x width),"
            f" got {pixels.shape[0]}x{pixels.shape[1]}; resize it or train with a data.size"
        )
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (c, h, w)


def read_picture(path: Path, *, exif: bool = True, resized_to: tuple[int, int] | None = None) -> Uint8:
    """Decode a PNG, JPEG, WebP, BMP or PPM file into an array for ``prepare``.

    16-bit grey keeps its high byte, palettes and CMYK become RGB, any transparency becomes RGBA.

    Args:
        exif: apply the EXIF orientation.
        resized_to: height and width to which the caller scales the picture. A baseline JPEG of more than
            ``MAX_DECODED_PIXELS`` is then decoded at 1/2, 1/4 or 1/8 of its size, and at least twice theirs.

    Raises:
        InputError: no such file, another format, damaged, more than ``MAX_PIXELS``, or more than
            ``MAX_DECODED_PIXELS`` after the reduction.
        DeviceError: Pillow is not installed.
    """
    return decode_picture(path, str(path), exif=exif, resized_to=resized_to)


def decode_picture(
    source: Path | BinaryIO, name: str, *, exif: bool = True, resized_to: tuple[int, int] | None = None
) -> Uint8:
    """Decode a picture from a file or a stream, which is called ``name``; otherwise as ``read_picture``."""
    with _opened(source, name) as image:
        _reduce(image, resized_to)
        if exif:
            _import_pillow().ImageOps.exif_transpose(image, in_place=True)
        return _to_uint8(image)


def from_pillow(image: "Image.Image", *, exif: bool = True) -> Uint8:
    """Convert a PIL picture into an array for ``prepare``, as ``read_picture`` does with a file.

    Raises:
        InputError: it cannot be decoded, or has more than 16 bits per channel.
    """
    try:
        return _to_uint8(_import_pillow().ImageOps.exif_transpose(image) if exif else image)
    except OSError as error:  # pictures are decoded when they are needed
        raise InputError(f"expected a readable picture, got: {error}; give another one") from error


def picture_shape(path: Path) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) of what ``read_picture`` gives, from the file's header alone.

    Raises:
        InputError, DeviceError: as ``read_picture``.
    """
    with _opened(path, str(path)) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        return height, width, 1 if _is_deep_grey(image) or _is_grey(image) else 3


@contextmanager
def _opened(source: Path | BinaryIO, name: str) -> Iterator["Image.Image"]:
    """Open a picture without decoding it; errors here and inside the block become ``InputError``."""
    pillow = _import_pillow()
    try:
        open_source = open_regular(source) if isinstance(source, Path) else nullcontext(source)
        with warnings.catch_warnings(), open_source as stream:
            warnings.simplefilter("ignore")  # the size is checked below, metadata are not used
            colours = check_jpeg(stream)
            image = pillow.Image.open(stream, formats=FORMATS)
            with image:
                check_decoder(image, pillow.Image.DECODERS)
                if colours < len(image.getbands()):  # in scans of their own, which costs as much memory
                    image.info["progressive"] = True
                yield image
    except Exception as error:  # decoders of damaged files can raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, pillow.UnidentifiedImageError):  # its text has the stream's address
            reason = "cannot identify it"
        raise InputError(
            f"{name}: expected a readable picture ({', '.join(FORMATS)}), got: {reason}; give another file"
        ) from error


def _reduce(image: "Image.Image", resized_to: tuple[int, int] | None) -> None:
    """Choose the scale at which a large picture is decoded; refuse one that stays too large."""
    if (pixels := image.width * image.height) > MAX_PIXELS:
        raise InputError(f"expected at most {MAX_PIXELS:,} pixels, got {pixels:,}")
    if pixels <= MAX_DECODED_PIXELS:
        return
    sequential = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    if sequential and resized_to is not None:
        smallest = 2 * max(resized_to)  # on both sides: the picture may be turned
        image.draft(None, (smallest, smallest))
        pixels = image.width * image.height
    if pixels > MAX_DECODED_PIXELS:
        raise InputError(
            f"expected at most {MAX_DECODED_PIXELS:,} pixels unless it is a baseline JPEG that is scaled"
            f" down, got {pixels:,}"
        )


def _to_uint8(image: "Image.Image") -> Uint8:
    if _is_deep_grey(image):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
            raise InputError(f"expected 8 or 16 bits per channel, got mode {image.mode}")
        return (values >> 8).astype(np.uint8)
    if image.has_transparency_data:
        return np.asarray(_in_mode(image, "RGBA"))
    return np.asarray(_in_mode(image, "L" if _is_grey(image) else "RGB"))


def _in_mode(image: "Image.Image", mode: str) -> "Image.Image":
    """Convert an image; one that has the mode is not copied."""
    return image if image.mode == mode else image.convert(mode)


def _is_deep_grey(image: "Image.Image") -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _is_grey(image: "Image.Image") -> bool:
    return image.mode in ("1", "L") and not image.has_transparency_data


def _check_picture(picture: Uint8) -> None:
    shape = picture.shape
    has_channels = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if picture.dtype != np.uint8 or not has_channels or picture.size == 0:
        raise InputError(
            f"expected a picture of uint8 (h, w), (h, w, 1), (h, w, 3) or (h, w, 4),"
            f" got {picture.dtype} {shape}; convert it"
        )


def _blend_alpha(pixels: Uint8, background: int) -> Uint8:
    """Blend RGBA over a grey background, rounding to nearest."""
    blended = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _bands(pixels):
        alpha = pixels[rows, :, 3:].astype(np.uint16)  # 255 * 255 + 127 still fits
        mixed = pixels[rows, :, :3] * alpha + background * (255 - alpha)
        blended[rows] = (mixed + 127) // 255
    return blended


def _to_grey(pixels: Uint8) -> Uint8:
    """Compute ITU-R 601 luma in 16-bit fixed point, bit for bit as Pillow does."""
    grey = np.empty((*pixels.shape[:2], 1), np.uint8)
    for rows in _bands(pixels):
        weighted = np.full(pixels[rows].shape[:2], 0x8000, np.uint32)
        for channel, weight in enumerate((19595, 38470, 7471)):
            weighted += pixels[rows, :, channel].astype(np.uint32) * weight
        grey[rows, :, 0] = weighted >> 16
    return grey


def _bands(pixels: Uint8) -> Iterator[slice]:
    """Bands of rows, each of about a megapixel: intermediate numbers are several times as wide as pixels."""
    rows = max(1, 2**20 // pixels.shape[1])
    return (slice(at, at + rows) for at in range(0, len(pixels), rows))


def _resize(pixels: Uint8, size: tuple[int, int], interpolation: str) -> Uint8:
    if pixels.shape[:2] == size:
        return pixels
    pillow = _import_pillow()
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    image = pillow.Image.fromarray(np.ascontiguousarray(flat))
    filters = pillow.Image.Resampling
    resized = np.asarray(image.resize((size[1], size[0]), filters[interpolation.upper()]))
    return resized.reshape(*size, -1)


def _scale_shorter_side(pixels: Uint8, side: int, interpolation: str) -> Uint8:
    """Scale the shorter side to ``side`` pixels and the longer one in proportion, rounded down.

    Of a picture longer than ``LONGEST`` times its width, the middle alone is used: its size is bounded then.
    """
    height, width = pixels.shape[:2]
    pixels = _centre_crop(pixels, (min(height, LONGEST * width), min(width, LONGEST * height)))
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    return _resize(pixels, (side * height // shorter, side * width // shorter), interpolation)


def _centre_crop(pixels: Uint8, size: tuple[int, int]) -> Uint8:
    (height, width), (rows, columns) = pixels.shape[:2], size
    if rows > height or columns > width:
        raise InputError(
            f"expected a picture of at least {rows}x{columns} pixels (height x width) to cut from,"
            f" got {height}x{width}; give a larger one"
        )
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _import_pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise DeviceError(
            f"expected Pillow, which opens and resizes pictures; {how_to_install('images')}"
        ) from error
    return PIL
