"""The images that ``eed-edge run`` is given: pictures, folders of pictures, NPZ files, standard input."""

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eed_edge.errors import EedError, InputError

if TYPE_CHECKING:
    from eed_edge.arrays import Floats
    from eed_edge.manifest import InputSpec, Manifest

log = logging.getLogger(__name__)
STDIN = Path("-")
_LARGEST_STREAM = 2**28  # bytes of a picture on standard input


@dataclass(frozen=True)
class InputPicture:
    """One image ready for the network, ``(c, h, w)``, what to call it, and its label if known."""

    name: str
    image: "Floats"
    truth: int | None = None


def read_all(files: Sequence[Path], manifest: "Manifest", errors: list[str]) -> Iterator[InputPicture]:
    """Yield the images of all files one by one; files that cannot be read are recorded in ``errors``."""
    for path in files:
        for part, truth in _parts(path, manifest.classes, errors):
            try:
                yield from _pictures(part, truth, manifest)
            except (EedError, MemoryError) as error:
                errors.append(str(error) if isinstance(error, EedError) else f"{part}: too large for memory")


def _parts(path: Path, classes: Sequence[str], errors: list[str]) -> Iterator[tuple[Path, int | None]]:
    """The files of an argument, in order, with the label that a subfolder named like a class gives them."""
    from eed_edge.images.picture_folder import PICTURE_SUFFIXES, pictures_below

    if not path.is_dir():
        yield path, None
        return
    label = {name: index for index, name in enumerate(classes)}
    any_picture = False
    for picture in pictures_below(path):
        any_picture = True
        yield picture, label.get(picture.parent.name) if picture.parent != path else None
    if not any_picture:
        errors.append(f"{path}: expected pictures ({', '.join(PICTURE_SUFFIXES)}) in this folder, got none")


def _pictures(path: Path, truth: int | None, manifest: "Manifest") -> Iterator[InputPicture]:
    from eed_edge.images.preprocess import open_picture

    if path == STDIN:
        yield _standard_input(manifest.input)
    elif path.suffix.lower() == ".npz":
        yield from _npz_pictures(path, manifest)
    else:
        yield InputPicture(str(path), open_picture(path, manifest.input), truth)


def _standard_input(spec: "InputSpec") -> InputPicture:
    from eed_edge.images.preprocess import decode_picture, decoded_for, prepare

    if (stream := getattr(sys.stdin, "buffer", None)) is None:
        raise InputError("expected a picture on standard input, which is closed; give it, or name a file")
    content = stream.read(_LARGEST_STREAM + 1)
    if not 0 < len(content) <= _LARGEST_STREAM:
        size = f"over {_LARGEST_STREAM:,} bytes" if content else "nothing"
        raise InputError(f"expected one picture on standard input, got {size}; write one to it")
    pixels = decode_picture(
        io.BytesIO(content), "standard input", exif=spec.preprocess.exif, resized_to=decoded_for(spec)
    )
    return InputPicture("-", prepare(pixels, spec))


def _npz_pictures(path: Path, manifest: "Manifest") -> Iterator[InputPicture]:
    """Images ``(n, h, w, c)`` uint8, or the network's input ``(n, c, h, w)`` float32, as golden.npz has.

    Labels that are not those of the bundle's classes are left out, with a warning.
    """
    from eed_edge.images.npz import read_images, read_npz
    from eed_edge.manifest import GOLDEN_FILE

    spec = manifest.input
    images, labels = read_images(path)
    if path.name == GOLDEN_FILE:
        labels = None  # answers of the bundle, not the truth
    if images.dtype != "float32" or images.shape[1:] != spec.size:
        images, labels = read_npz(path)
    if not len(images):
        raise InputError(f"{path}: expected at least one image, got none; write it again")
    if labels is not None and not 0 <= labels.min() <= labels.max() < len(manifest.classes):
        got = f"{labels.min()} to {labels.max()}"
        log.warning("%s: labels %s are not those of the %d classes", path, got, len(manifest.classes))
        labels = None
    for i, image in enumerate(images):
        truth = None if labels is None else int(labels[i])
        yield InputPicture(f"{path}[{i}]", _ready(image, spec, f"{path}[{i}]"), truth)


def _ready(image: Any, spec: "InputSpec", name: str) -> "Floats":
    from eed_edge.images.preprocess import prepare
    from eed_edge.runtime.engine.accepted_images import in_unit_range

    try:
        if image.dtype == "float32":
            return in_unit_range(image)
        return prepare(image, spec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
