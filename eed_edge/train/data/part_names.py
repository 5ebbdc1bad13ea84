"""Names of the parts of a set: which folder or file is train, val or test."""

import logging
from collections.abc import Mapping
from pathlib import Path

from eed_edge.errors import DataError

log = logging.getLogger(__name__)
PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def is_divided(names: Mapping[str, Path]) -> bool:
    """Whether one of the names is that of a part, in upper or lower case."""
    return any(name.lower() in known for name in names for known in PART_NAMES.values())


def roles(entries: Mapping[str, Path], place: Path) -> dict[str, Path]:
    """Folders or files by what they are for: ``train``, ``val`` for tune and calib, ``test``.

    A set of train and val alone has its val as the test part. The log says what is for what.

    Args:
        entries: by name, without suffix.
        place: where they lie, for messages.

    Raises:
        DataError: train is missing, or two entries are the same part.
    """
    parts: dict[str, Path] = {}
    for part, known in PART_NAMES.items():
        paths = [path for name, path in sorted(entries.items()) if name.lower() in known]
        if len(paths) > 1:
            raise DataError(
                f"{place}: expected one folder or file for {part}, got {paths[0].name} and {paths[1].name};"
                " rename one of them"
            )
        if paths:
            parts[part] = paths[0]
    if "train" not in parts:
        raise DataError(
            f"{place}: expected train beside {', '.join(sorted(entries))}, got none; name the training"
            " pictures train, or choose a folder with one subfolder per class"
        )
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
    words = {"train": "train", "val": "tune and calib", "test": "test"}
    if "val" not in parts:
        words["train"] = "train, tune and calib"
    log.info("%s: %s", place, "; ".join(f"{path.name} for {words[part]}" for part, path in parts.items()))
    if left := sorted(set(entries.values()) - set(parts.values())):
        log.warning("%s: %s not used, not a part of the data set", place, ", ".join(p.name for p in left))
    return parts
