"""Shifted images: common corruptions at three strengths, and images of no class.

Kinds and parameters are those of CIFAR-10-C (gaussian_noise, gaussian_blur, contrast, brightness,
jpeg_compression) at severities 1, 3 and 5, made with numpy and Pillow. The blur is in pixels of an
image of 32 pixels, or of its own size if that is smaller, and grows with larger images; everything
else is free of size. Every image has a random stream of its own, so nothing depends on batches, and
the three strengths of noise are the same noise.

Source:
    Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", ICLR 2019; parameters from the authors' make_cifar_c.py.
"""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eed_edge.arrays import Doubles, Floats
from eed_edge.errors import InputError
from eed_edge.seeds import image_seed

STRENGTHS = (1, 2, 3)
PARAMETERS: dict[str, tuple[float, float, float]] = {
    "noise": (0.04, 0.08, 0.10),  # standard deviation, in units of the [0, 1] range
    "blur": (0.4, 0.7, 1.0),  # standard deviation, in pixels up to a side of 32, then in 32nds of it
    "contrast": (0.75, 0.4, 0.15),  # share of the distance to the channel's mean that is left
    "brightness": (0.05, 0.15, 0.30),  # added to the largest channel (HSV value)
    "jpeg": (80, 58, 40),  # quality
}
NO_CLASS = ("uniform noise", "constant grey", "shuffled pixels")


def corrupt(images: Floats, name: str, strength: int, *, seed: int, first: int = 0) -> Floats:
    """The images after one corruption.

    Args:
        images: ``(n, c, h, w)`` in [0, 1], grey or RGB.
        name: a key of ``PARAMETERS``.
        strength: 1, 2 or 3.
        first: the place of ``images[0]`` in the whole set; batches of a set then get what the whole would.

    Returns:
        Images of the same shape, float32 in [0, 1].

    Raises:
        InputError: an unknown corruption or strength, or images that are neither grey nor RGB.
    """
    if name not in PARAMETERS or strength not in STRENGTHS:
        raise InputError(
            f"expected a corruption out of {', '.join(PARAMETERS)} with strength 1, 2 or 3,"
            f" got {name!r} with {strength}"
        )
    _check(images)
    change, parameter = _CHANGES[name], PARAMETERS[name][strength - 1]
    made = [
        change(image, parameter, _stream(seed, first + i))
        for i, image in enumerate(images.astype(np.float64))
    ]
    return np.clip(np.array(made).reshape(images.shape), 0, 1).astype(np.float32)


def no_class_images(images: Floats, name: str, *, seed: int, first: int = 0) -> Floats:
    """As many images of no class as ``images`` has, of the same shape, float32 in [0, 1].

    ``uniform noise`` draws every value, ``constant grey`` one value an image, ``shuffled pixels`` puts
    the pixels of each real image, channels together, in random order.

    Args:
        images, seed, first: as in ``corrupt``.
        name: one of ``NO_CLASS``.

    Raises:
        InputError: an unknown name, or images that are neither grey nor RGB.
    """
    _check(images)
    made = np.empty_like(images, dtype=np.float32)
    for i, image in enumerate(images):
        random = _stream(seed, first + i)
        if name == "uniform noise":
            made[i] = random.random(image.shape, np.float32)
        elif name == "constant grey":
            made[i] = random.random(dtype=np.float32)
        elif name == "shuffled pixels":
            pixels = image.reshape(len(image), -1)
            made[i] = pixels[:, random.permutation(pixels.shape[1])].reshape(image.shape)
        else:
            raise InputError(f"expected images of no class out of {', '.join(NO_CLASS)}, got {name!r}")
    return made


def _check(images: Floats) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(f"expected grey or RGB images (n, 1 or 3, h, w), got shape {images.shape}")


def _stream(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng(image_seed(seed, index))


def _noise(image: Doubles, deviation: float, random: np.random.Generator) -> Doubles:
    return image + deviation * random.standard_normal(image.shape)


def _blur(image: Doubles, deviation: float, random: np.random.Generator) -> Doubles:
    _, height, width = image.shape
    pixels = deviation * max(1.0, min(height, width) / 32)
    blurred: Doubles = _blurring(height, pixels) @ image @ _blurring(width, pixels).T
    return blurred


@cache
def _blurring(side: int, deviation: float) -> Doubles:
    """The ``(side, side)`` matrix that blurs along one axis; beyond an edge its last pixel goes on."""
    reach = int(np.ceil(4 * deviation))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets**2) / (2 * deviation**2))
    weights /= weights.sum()
    matrix = np.zeros((side, side))
    for row in range(side):
        np.add.at(matrix[row], np.clip(row + offsets, 0, side - 1), weights)
    return matrix


def _contrast(image: Doubles, left: float, random: np.random.Generator) -> Doubles:
    mean: Doubles = image.mean((1, 2), keepdims=True)
    return mean + left * (image - mean)


def _brightness(image: Doubles, added: float, random: np.random.Generator) -> Doubles:
    """HSV value raised, hue and saturation kept: all channels grow by the factor of the largest."""
    value = image.max(0)
    raised = np.minimum(value + added, 1)
    factor = raised / np.where(value > 0, value, 1)
    brighter: Doubles = np.where(value > 0, image * factor, raised)
    return brighter


def _jpeg(image: Doubles, quality: float, random: np.random.Generator) -> Doubles:
    pixels: NDArray[np.uint8] = np.rint(image * 255).astype(np.uint8)
    stream = io.BytesIO()
    grey = len(pixels) == 1
    Image.fromarray(pixels[0] if grey else pixels.transpose(1, 2, 0)).save(
        stream, "JPEG", quality=int(quality)
    )
    with Image.open(stream) as opened:
        values = np.asarray(opened, np.float64) / 255  # (h, w) or (h, w, 3)
    return values[None] if grey else values.transpose(2, 0, 1)


_CHANGES: dict[str, Callable[[Doubles, float, np.random.Generator], Doubles]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
}
