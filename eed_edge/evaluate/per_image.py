"""Which test images every network has right under every attack: one bit each, in ``per_image.npz``."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eed_edge.arrays import Bools, Ints
from eed_edge.atomic_files import write_atomic
from eed_edge.errors import InputError
from eed_edge.files.npz_archive import read_arrays

PER_IMAGE_FORMAT = 1
PER_IMAGE_FILE = "per_image.npz"


@dataclass(frozen=True, eq=False)
class AttackVerdicts:
    """The verdicts under one attack.

    rows: places of the attacked images in the test part, rising, ``(n,)``.
    right: correctness of each network, ``(n,)`` bool.
    """

    rows: Ints
    right: Mapping[str, Bools]


@dataclass(frozen=True, eq=False)
class PerImage:
    """The content of the file.

    evaluated: digest of the bundle and the networks that the verdicts hold for, as in the report.
    test_images: images of the test part, of which each attack has some.
    attacks: by their name in the report.
    """

    evaluated: str
    test_images: int
    attacks: Mapping[str, AttackVerdicts]


def common_images(first: AttackVerdicts, second: AttackVerdicts) -> tuple[AttackVerdicts, AttackVerdicts]:
    """Reduce both to the test images that they share, so that they can be compared image by image."""
    rows, left, right = np.intersect1d(first.rows, second.rows, assume_unique=True, return_indices=True)
    each = ((first, left), (second, right))
    reduced = [
        AttackVerdicts(rows, {name: verdicts.right[name][at] for name in verdicts.right})
        for verdicts, at in each
    ]
    return reduced[0], reduced[1]


def write_per_image(path: Path, content: PerImage) -> None:
    """Write the file, whole or not at all."""
    about = {
        "format": PER_IMAGE_FORMAT,
        "evaluated": content.evaluated,
        "test_images": content.test_images,
        "attacks": {name: list(each.right) for name, each in content.attacks.items()},
    }
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for name, each in content.attacks.items():
        drawn = np.zeros(content.test_images, np.bool_)
        drawn[each.rows] = True
        arrays[f"{name} drawn"] = np.packbits(drawn)
        arrays[f"{name} right"] = np.packbits(np.stack(list(each.right.values())), axis=1)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    write_atomic(path, stream.getvalue())


def read_per_image(path: Path) -> PerImage:
    """Read such a file.

    Raises:
        InputError: it is missing, damaged or of another format.
    """
    try:
        arrays = read_arrays(path, None)
        about = json.loads(arrays["about"].tobytes())
        if about["format"] != PER_IMAGE_FORMAT:
            raise ValueError(f"format {about['format']!r}")
        count, attacks = about["test_images"], {}
        for name, networks in about["attacks"].items():
            rows = np.flatnonzero(np.unpackbits(arrays[f"{name} drawn"], count=count))
            bits = np.unpackbits(arrays[f"{name} right"], axis=1, count=len(rows)).astype(np.bool_)
            attacks[name] = AttackVerdicts(rows, dict(zip(networks, bits, strict=True)))
        return PerImage(about["evaluated"], count, attacks)
    except Exception as error:  # an archive can be wrong in many ways
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"{path}: expected verdicts of format {PER_IMAGE_FORMAT}, got: {reason:.120};"
            " delete it and run eed-edge attack again"
        ) from error
