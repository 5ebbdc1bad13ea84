"""The pictures below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm")


def is_picture_file(path: Path) -> bool:
    """Whether the name is a picture's, and not that of a hidden file or a folder."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def pictures_below(folder: Path) -> Iterator[Path]:
    """Yield the pictures in a folder and in its subfolders, sorted; hidden folders are passed over."""
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        yield from (path for name in sorted(files) if is_picture_file(path := Path(place, name)))
