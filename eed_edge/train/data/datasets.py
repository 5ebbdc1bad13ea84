"""Readers of the public data sets: uint8 images after the preprocessing that a device repeats."""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.errors import DataError, DeviceError, how_to_install
from eed_edge.images.preprocess import prepare_uint8
from eed_edge.manifest import InputSpec, Preprocess
from eed_edge.printable import to_copy
from eed_edge.train.data import official_files

log = logging.getLogger(__name__)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple("0123456789")
DIGITS_SIZE = 16
"""Side to which the 8x8 digits are scaled, since the CNNs downsample three times."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images ``(n, c, h, w)`` uint8 and labels ``(n,)`` int64."""

    images: Uint8
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: NDArray[np.intp] | slice) -> "Split":
        return Split(self.images[index], self.labels[index])


class ImageSource(Protocol):
    """Labelled images that an index of places reads or copies: a ``Split``, or files."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each image, ``(n,)``."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: NDArray[np.intp]) -> Split:
        """The images at these places."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set before it is divided.

    train: everything but the other parts.
    read_test: reads the set's own test part; None when the set has none.
    held_out: the set's own part for tune and calib; None draws them from train.
    """

    train: ImageSource
    read_test: Callable[[], Split] | None
    classes: tuple[str, ...]
    input: InputSpec
    held_out: ImageSource | None = None


@dataclass(frozen=True)
class PictureSize:
    """What pictures are scaled to.

    side: pictures become side × side.
    shorter_side: pixels that the shorter side is scaled to before side × side are cut from the middle; None
        scales both sides to ``side``.
    """

    side: int
    shorter_side: int | None = None


def digits(root: Path | None, size: PictureSize | None) -> Dataset:
    """1,797 handwritten digits of 8x8 pixels that come with scikit-learn; ``root`` is not used."""
    if root is not None:
        init_command = to_copy("init", root)
        log.warning(
            "data.name is digits, which need no files: %s is not read; %s writes a recipe", root, init_command
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DeviceError(f"expected scikit-learn, which has digits; {how_to_install('train')}") from error
    spec = input_spec(1, size or PictureSize(DIGITS_SIZE))
    grey, labels = load_digits(return_X_y=True)  # (n, 64) in 0..16
    pixels = np.rint(grey.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Dataset(Split(prepared(pixels, spec), labels.astype(np.int64)), None, DIGITS, spec)


def cifar10(root: Path | None, size: PictureSize | None) -> Dataset:
    """CIFAR-10 from the six files of its binary version."""
    place = require_path(root, "the binary files of CIFAR-10")
    spec = input_spec(3, size or PictureSize(32))

    def read(*names: str) -> Split:
        content = b"".join(official_files.read_official_file("cifar10", place, name) for name in names)
        rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        return Split(_scaled(rows[:, 1:].reshape(-1, 3, 32, 32), spec), rows[:, 0].astype(np.int64))

    train = read(*(f"data_batch_{i}.bin" for i in range(1, 6)))
    return Dataset(train, lambda: read("test_batch.bin"), CIFAR10, spec)


def svhn(root: Path | None, size: PictureSize | None) -> Dataset:
    """SVHN's cropped digits from its two MATLAB files; their label 10 is the digit 0."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DeviceError(f"expected SciPy, which reads .mat; {how_to_install('train')}") from error
    place = require_path(root, "the .mat files of SVHN")
    spec = input_spec(3, size or PictureSize(32))

    def read(name: str) -> Split:
        content = official_files.read_official_file("svhn", place, name, allow_unofficial=True)
        try:
            arrays = loadmat(io.BytesIO(content))
            pictures, labels = arrays["X"], arrays["y"].ravel().astype(np.int64)
            if pictures.shape != (32, 32, 3, len(labels)) or pictures.dtype != np.uint8 or not len(labels):
                raise ValueError(f"X {pictures.shape} {pictures.dtype} for {len(labels)} labels")
        except Exception as error:  # damage makes SciPy raise many types
            reason = " ".join(str(error).split())
            raise DataError(
                f"{place / name}: expected a .mat file of X (32, 32, 3, n) uint8 and y (n, 1), got: {reason};"
                f" run: {to_copy('data', 'svhn', '--root', place)}"
            ) from error
        images = pictures.transpose(3, 2, 0, 1)
        return Split(_scaled(images, spec), np.where(labels == 10, 0, labels))

    return Dataset(read("train_32x32.mat"), lambda: read("test_32x32.mat"), DIGITS, spec)


def input_spec(channels: int, size: PictureSize | tuple[int, int]) -> InputSpec:
    """The networks' input; a picture of another size is scaled to it on the device.

    Args:
        size: or height and width.
    """
    kind: Literal["RGB", "L"] = "L" if channels == 1 else "RGB"
    height, width = (size.side, size.side) if isinstance(size, PictureSize) else size
    shorter = size.shorter_side if isinstance(size, PictureSize) else None
    steps = Preprocess(
        resize=None if shorter else (height, width),
        crop=(height, width) if shorter else None,
        grey="luma" if channels == 1 else "repeat",
        shorter_side=shorter,
    )
    return InputSpec(name="images", shape=("N", channels, height, width), channels=kind, preprocess=steps)


def prepared(pictures: Uint8, spec: InputSpec) -> Uint8:
    """Pictures ``(n, h, w)`` or ``(n, h, w, c)`` as the networks' input ``(n, c, h, w)``."""
    images = np.empty((len(pictures), *spec.size), np.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image[...] = prepare_uint8(picture, spec)
    return images


def require_path(root: Path | None, what: str) -> Path:
    """Return ``root``, which must exist.

    Raises:
        DataError: it is None or does not exist; ``what`` describes what it should hold.
    """
    if root is None:
        raise DataError(f"expected {what}, got no path; name it with --data")
    if not root.exists():
        raise DataError(f"{root}: expected {what}, there is nothing of that name; check the path")
    return root


def _scaled(images: Uint8, spec: InputSpec) -> Uint8:
    """``(n, c, h, w)`` at the size of the networks' input."""
    if images.shape[1:] == spec.size:
        return np.ascontiguousarray(images)
    return prepared(images.transpose(0, 2, 3, 1), spec)
