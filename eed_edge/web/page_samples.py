"""The images on the page: test images and stored attacks of a run, or the golden images of a bundle."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Floats
from eed_edge.errors import InputError
from eed_edge.images.evaluation_images import EVALUATION_FILE, IMAGES, STRIP, read_evaluation_images
from eed_edge.manifest import InputSpec
from eed_edge.runtime.bundle.folder import Bundle
from eed_edge.runtime.bundle.golden_file import read_golden

MOST_IMAGES = 60
MOST_BYTES = 8 * 2**20
"""Of the test images, and of the attacked ones; of large images fewer are shown, at least one."""
INK = 0.25
"""How far from the ground's brightness a pixel of a drawn digit is at least."""


@dataclass(frozen=True)
class PageSamples:
    """Images for the network, float32 in [0, 1], and their true classes.

    images: ``(n, c, h, w)``.
    labels: ``(n,)``; None where the truth is not known.
    clean, attacked: ``(s, c, h, w)``, the same images as they are and with a stored attack.
    attacked_labels: ``(s,)``.
    from_run: test images of a run, not golden images of the bundle.
    """

    images: Floats
    labels: list[int | None]
    clean: Floats
    attacked: Floats
    attacked_labels: list[int]
    from_run: bool

    def raw(self) -> bytes:
        """All images as little-endian float32: ``images``, ``clean``, ``attacked``."""
        return b"".join(part.astype("<f4").tobytes() for part in (self.images, self.clean, self.attacked))


def read_samples(bundle: Bundle, run: Path | None) -> PageSamples:
    """Read the images of a run, or of the bundle where there is none.

    Raises:
        InputError: the run has no test images, or they are damaged or of another size.
        BundleError: the golden images are damaged.
    """
    size = bundle.manifest.input.size
    none = np.empty((0, *size), np.float32)
    if run is None:
        golden = read_golden(bundle).images[: _count(size, MOST_IMAGES)]
        return PageSamples(golden, [None] * len(golden), none, none, [], from_run=False)
    path, classes = run / EVALUATION_FILE, len(bundle.manifest.classes)
    arrays = read_evaluation_images(path, len(bundle.manifest.submodels))
    if not set(IMAGES) <= arrays.keys():
        raise InputError(f"{path}: expected test images, got none; run eed-edge attack, which stores them")
    for name in ("images", "strip_clean"):
        if name in arrays and (shape := arrays[name].transpose(0, 3, 1, 2).shape[1:]) != size:
            raise InputError(f"{path}: expected images {size} as the bundle takes them, got {shape}")
    for name in ("labels", "strip_labels"):
        if name in arrays and not np.all((arrays[name] >= 0) & (arrays[name] < classes)):
            raise InputError(f"{path}: expected {name} from 0 to {classes - 1}; run eed-edge attack again")
    shown = _in_turn(arrays["submodels_used"])[: _count(size, MOST_IMAGES)]
    images = _channels_first(arrays["images"][shown]) / np.float32(255)
    return PageSamples(images, arrays["labels"][shown].tolist(), *_attacked(arrays, none), from_run=True)


def _attacked(arrays: Mapping[str, NDArray[Any]], none: Floats) -> tuple[Floats, Floats, list[int]]:
    """The examples that the attack changed: one that was answered wrong already was not attacked."""
    if not set(STRIP) <= arrays.keys():
        return none, none, []
    clean, attacked = (_channels_first(arrays[f"strip_{name}"]) for name in ("clean", "attacked"))
    changed = np.flatnonzero((clean != attacked).any(axis=(1, 2, 3)))
    changed = changed[: _count(none.shape[1:], len(changed), copies=2)]
    return clean[changed], attacked[changed], arrays["strip_labels"][changed].tolist()


def _channels_first(images: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)


def _count(size: tuple[int, ...], most: int, copies: int = 1) -> int:
    return min(most, max(1, MOST_BYTES // (4 * copies * int(np.prod(size)))))


def _in_turn(used: NDArray[Any]) -> NDArray[np.intp]:
    """Indices of images so that each count of sub-models has its turn, within a count in the file's order."""
    seen: Counter[int] = Counter()
    rank = []
    for count in used.tolist():
        rank.append(seen[count])
        seen[count] += 1
    return np.lexsort((used, np.array(rank)))


def drawing_hint(spec: InputSpec, classes: tuple[str, ...], images: Floats) -> dict[str, float] | None:
    """Brightness and size of the digits in ``images``, to draw one alike; None: the classes are no digits.

    Returns:
        ``ground``, the brightness behind the ink, 0 or 1, and ``fill``, the share of the height that ink
        fills in most images.
    """
    digits = all(len(name) == 1 and name.isascii() and name.isdigit() for name in classes)
    if spec.channels != "L" or not digits:
        return None
    border = np.concatenate([images[:, 0, :, 0].ravel(), images[:, 0, :, -1].ravel()])
    ground = float(border.mean() > 0.5)
    inked = (np.abs(images[:, 0] - ground) > INK).any(axis=2)  # (n, h)
    inked = inked[inked.any(axis=1)]
    if not len(inked):
        return {"ground": ground, "fill": 1.0}
    heights = inked.shape[1] - inked.argmax(axis=1) - inked[:, ::-1].argmax(axis=1)
    return {"ground": ground, "fill": float(np.median(heights)) / inked.shape[1]}
