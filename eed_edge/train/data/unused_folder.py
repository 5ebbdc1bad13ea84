"""A folder that a training may write into: no set of pictures and no bundle."""

from pathlib import Path

from eed_edge.errors import CheckpointError
from eed_edge.images.picture_folder import pictures_below
from eed_edge.manifest import MANIFEST_FILE


def check_unused(path: Path) -> None:
    """Refuse a folder that is used for something else, above all the one of the pictures.

    Raises:
        CheckpointError: there are pictures, an image set or a bundle in it.
    """
    others = (file for file in (path / MANIFEST_FILE, path / "train.npz") if file.exists())
    other = next(others, None) or next(pictures_below(path), None)
    if other is not None:
        raise CheckpointError(
            f"{path}: expected a new folder, got one with {other.relative_to(path)}; choose another folder"
        )
