"""Fingerprints of images and recipes, to check that a run folder belongs to them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from eed_edge.train.data.splits import Splits


def images_digest(splits: Splits) -> str:
    """SHA-256 of the training, tune and calib images and labels."""
    state = hashlib.sha256()
    for split in (splits.train, splits.tune, splits.calib):
        state.update(np.ascontiguousarray(split.images).data)
        state.update(np.ascontiguousarray(split.labels).data)
    return state.hexdigest()


def first_difference(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    where: str = "",
    *,
    sides: tuple[str, str] = ("there", "here"),
) -> str:
    """The first key in which two recipes differ, or the empty string.

    Args:
        sides: what to call the old one and the new one.
    """
    for key in old:
        if isinstance(old[key], dict):
            if inner := first_difference(old[key], new[key], f"{where}{key}.", sides=sides):
                return inner
        elif old[key] != new[key]:
            return f"{where}{key} is {old[key]!r} {sides[0]} and {new[key]!r} {sides[1]}"
    return ""
