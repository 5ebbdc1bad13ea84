"""Convert whatever a loaded bundle accepts as images to the networks' input."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from eed_edge.arguments import short_repr, to_path
from eed_edge.arrays import Floats, Uint8
from eed_edge.errors import InputError
from eed_edge.images.preprocess import from_pillow, open_picture, prepare_uint8
from eed_edge.manifest import InputSpec

if TYPE_CHECKING:
    from PIL import Image

OnePicture: TypeAlias = Union[NDArray[Any], str, "os.PathLike[str]", "Image.Image"]
ImagesLike: TypeAlias = OnePicture | Sequence[OnePicture]
"""An array, the path of a picture, a PIL picture, or a list of these; ``to_images`` has the shapes."""

FLOAT32, _BITS = np.dtype(np.float32), np.dtype(np.uint32)
ONE = int(np.float32(1).view(np.uint32))  # the bits of 1.0
ROUNDING = 1e-5
"""Pixels so far outside of [0, 1] are clipped: rounding in a resize or in half precision leaves them."""


def to_images(value: Any, spec: InputSpec) -> Floats:
    """Convert images of any accepted kind to the networks' input; an array of that kind is returned uncopied.

    With ``(c, h, w)`` the size of the networks' input, these are accepted:

    - float arrays in [0, 1]: ``(n, c, h, w)`` or ``(n, h, w, c)``, one image of these without n; for grey
      networks ``(n, h, w)`` and ``(h, w)`` too;
    - uint8 arrays: ``(n, c, h, w)`` and ``(c, h, w)`` are divided by 255; pictures ``(h, w)``, ``(h, w, 1)``,
      ``(h, w, 3)``, ``(h, w, 4)`` of any size, or ``(n, h, w, …)`` of them, are prepared as files are;
    - the path of a picture, a PIL picture, and lists of single images;
    - whatever numpy converts to such an array, such as a torch tensor on the CPU.

    Returns:
        ``(n, c, h, w)`` float32 in [0, 1].

    Raises:
        InputError: anything else, pixels outside of [0, 1] by more than ``ROUNDING``, or NaN.
        DeviceError: a picture has to be opened or resized, and Pillow is not installed.
    """
    if isinstance(value, np.ndarray) and value.dtype == FLOAT32:
        if value.ndim == 4 and value.shape[1:] == spec.size:
            return in_unit_range(value)
        return in_unit_range(_arranged(value, spec))
    if isinstance(value, (list, tuple)):
        return _stacked(value, spec)
    if isinstance(value, (str, os.PathLike)):
        return open_picture(to_path(value), spec)[None]
    if _is_pillow(value):
        return _scaled(prepare_uint8(from_pillow(value, exif=spec.preprocess.exif), spec)[None])
    array = _as_array(value, spec)
    if array.dtype == np.uint8:
        return _scaled(_prepared(array, spec))
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        return in_unit_range(_arranged(array, spec).astype(np.float32))


def in_unit_range(images: Floats) -> Floats:
    """Return the images, clipped where rounding left them just outside of [0, 1].

    Raises:
        InputError: a pixel is further outside, or NaN.
    """
    # The bits of non-negative floats sort like their values, so one maximum finds a pixel above 1 or NaN.
    # The bits of negative floats sort above all these; only -0.0 needs the second check.
    bits = images.view(_BITS)
    if images.flags.c_contiguous:
        bits = bits.reshape(-1)  # faster to reduce
    if not images.size or int(np.maximum.reduce(bits, axis=None)) <= ONE:
        return images
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return images
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return np.clip(images, 0, 1)
    got = f"expected pixels in [0, 1], got {low:.8g} to {high:.8g}"
    if np.isnan(low):
        raise InputError(f"expected pixels in [0, 1], got NaN in {_images_with_nan(images)}; leave these out")
    if np.isinf([low, high]).any():
        raise InputError(f"{got}; look where the infinite pixels come from")
    if low < 0:
        raise InputError(
            f"{got}; leave mean and standard deviation out: the networks normalise by themselves"
        )
    raise InputError(f"{got}; " + ("divide them by 255" if 2 <= high <= 255 else "scale them to [0, 1]"))


def _images_with_nan(images: Floats) -> str:
    rows = np.flatnonzero(np.isnan(images).any(axis=(1, 2, 3)))
    return f"{len(rows)} of {len(images)} images, the first at {rows[0]}"


def _stacked(value: Sequence[Any], spec: InputSpec) -> Floats:
    """Stack the single images of a list."""
    images: list[Floats] = []
    for place, item in enumerate(value):
        if isinstance(item, (list, tuple, int, float)):
            raise InputError(
                f"expected a list of arrays, paths or PIL pictures, got {short_repr(item)} at {place};"
                " numbers go into a numpy array"
            )
        try:
            image = to_images(item, spec)
        except InputError as error:
            raise InputError(f"image {place} of the list: {error}") from error
        if len(image) != 1:
            raise InputError(
                f"image {place} of the list: expected one image, got {len(image)}; give the batch itself"
            )
        images.append(image)
    return np.concatenate([np.zeros((0, *spec.size), np.float32), *images])


def _as_array(value: Any, spec: InputSpec) -> NDArray[Any]:
    """Return a float or uint8 array from an array or an object that converts itself to one."""
    try:
        array = np.asarray(value) if hasattr(value, "__array__") else None
    except Exception as error:  # torch raises for gradients and GPUs
        raise InputError(
            f"expected images, got {type(value).__name__}: {' '.join(str(error).split())}"
        ) from error
    if array is None:
        raise InputError(
            f"expected images, a numpy array {_shapes(spec)}, got {type(value).__name__};"
            " give an array, the path of a picture, a PIL picture or a list of these"
        )
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(
            f"expected an array of uint8 or of floats in [0, 1], got {array.dtype};"
            " if the pixels go from 0 to 255, convert them: images.astype(numpy.uint8)"
        )
    return array


def _arranged(array: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """A view ``(n, c, h, w)`` of floats of the networks' size."""
    channels, height, width = spec.size
    if array.ndim in (3, 4) and array.shape[-3:] == spec.size:
        return array.reshape(-1, *spec.size) if array.ndim == 3 else array
    if array.ndim in (3, 4) and array.shape[-3:] == (height, width, channels):
        return np.moveaxis(array, -1, -3).reshape(-1, *spec.size)
    if channels == 1 and array.ndim in (2, 3) and array.shape[-2:] == (height, width):
        return array.reshape(-1, *spec.size)
    raise InputError(f"expected images {_shapes(spec)}, got {array.shape}; {_remedy(array.shape, spec)}")


def _remedy(shape: tuple[int, ...], spec: InputSpec) -> str:
    channels, height, width = spec.size
    if shape[-2:] == (height, width) and len(shape) == 2:
        return "one grey image for a network of colour images: images[None].repeat(3, axis=0)"
    if len(shape) in (3, 4) and channels not in (shape[-1], shape[-3]):
        kind = "grey" if channels == 1 else "RGB"
        return f"make them {kind}, or give the picture as uint8 (h, w, 3), which is converted"
    return f"resize them to {height}x{width}, or give pictures as uint8 (h, w, 3), which are resized"


def _shapes(spec: InputSpec) -> str:
    return f"(n, {', '.join(map(str, spec.size))})"


def _prepared(array: Uint8, spec: InputSpec) -> Uint8:
    """uint8 ``(n, c, h, w)`` of arrays of that kind, or of pictures, which are prepared as files are."""
    if array.ndim in (3, 4) and array.shape[-3:] == spec.size:
        return array.reshape(-1, *spec.size)
    channels_last = array.ndim in (3, 4) and array.shape[-1] in (1, 3, 4)
    if array.ndim == 2 or (array.ndim == 3 and channels_last):
        return prepare_uint8(array, spec)[None]
    if channels_last or (array.ndim == 3 and array.shape[1:] == spec.size[1:]):
        pictures = [prepare_uint8(picture, spec) for picture in array]
        return np.stack(pictures) if pictures else np.zeros((0, *spec.size), np.uint8)
    raise InputError(
        f"expected uint8 images {_shapes(spec)} or pictures (h, w), (h, w, 3) or (h, w, 4),"
        f" got {array.shape}; put the channels last"
    )


def _scaled(pixels: Uint8) -> Floats:
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def _is_pillow(value: Any) -> bool:
    """Whether the value is a PIL picture; it is none if nobody has imported Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)
