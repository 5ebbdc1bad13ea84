"""Read ``evaluation.npz`` of a run: test images, examples with a stored attack, and the recorded answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eed_edge.errors import InputError
from eed_edge.files.npz_archive import read_arrays

Arrays = Mapping[str, NDArray[Any]]
EVALUATION_FILE = "evaluation.npz"
IMAGES = ("images", "labels", "submodels_used")
STRIP = (
    "strip_clean",
    "strip_attacked",
    "strip_labels",
    "strip_said_clean",
    "strip_said_attacked",
    "strip_answer_clean",
    "strip_answer_attacked",
    "strip_used_clean",
    "strip_used_attacked",
)


def read_evaluation_images(path: Path, members: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``evaluation.npz`` that are whole sets, ``IMAGES``, ``STRIP`` or both.

    Args:
        path: without a file there is no set.
        members: sub-models of the bundle.

    Raises:
        InputError: the file is damaged, or a set's arrays do not hold the same images.
    """
    if not path.is_file():
        return {}
    try:
        stored = read_arrays(path, None)
        sets = [names for names in (IMAGES, STRIP) if set(names) <= stored.keys()]
        arrays = {name: stored[name] for names in sets for name in names}
        for names in sets:
            _check(names, arrays, members)
    except Exception as error:  # an archive can be wrong in many ways
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: expected images with their recorded answers, got: {reason:.120};"
            " run eed-edge attack again"
        ) from error
    return arrays


def _check(names: tuple[str, ...], arrays: Arrays, members: int) -> None:
    """Check that a set's arrays hold the same images, pictures ``(n, h, w, c)`` of one or three channels."""
    first = arrays[names[0]]
    for name in names:
        shape = arrays[name].shape
        if name in ("images", "strip_clean", "strip_attacked"):
            expected: tuple[int, ...] = first.shape
            fits = len(shape) == 4 and shape[3] in (1, 3) and min(shape[1:]) > 0
        else:
            expected = (len(first), members) if "said" in name else (len(first),)
            fits = arrays[name].dtype.kind in "iu"
        if shape != expected or not fits:
            raise ValueError(f"{name} {shape} {arrays[name].dtype} beside {names[0]} {first.shape}")
