"""Inputs of the page: report, bundle manifest, training log and example images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eed_edge import report
from eed_edge.errors import InputError
from eed_edge.files.npz_archive import read_arrays
from eed_edge.files.regular_files import read_regular
from eed_edge.manifest import NO_ATTACK, Manifest
from eed_edge.report.judged_file import JUDGED_FILE, judged_summary
from eed_edge.report.notes_file import read_notes

Arrays = Mapping[str, NDArray[Any]]
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


@dataclass(frozen=True)
class PageInputs:
    """The data shown on the page.

    report: ``report.json``; parts that have not been measured are absent.
    log: the records of ``log.jsonl``, one an epoch; empty without the file.
    arrays: those of ``evaluation.npz`` that are whole sets: ``IMAGES``, ``STRIP`` or both.
    notes: what a reader of the figures must know, by name.
    judged: how many bundles of the run were judged on test, in words; empty if that is not recorded.
    """

    report: Mapping[str, Any]
    manifest: Manifest
    log: Sequence[Mapping[str, Any]]
    arrays: Arrays
    judged: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def attacked(self) -> bool:
        """Whether the run had attacks; else they were not asked for."""
        return self.manifest.calibration.attack != NO_ATTACK

    def class_name(self, label: int) -> str:
        """The name of a class, or its number if the bundle has no name for it."""
        known = 0 <= label < len(self.manifest.classes)
        return self.manifest.classes[label] if known else f"class {label}"


def read_inputs(run: Path, manifest: Manifest) -> PageInputs:
    """Read the inputs from a run folder; missing files are left out.

    Raises:
        InputError: there is no report, or a file is damaged.
    """
    arrays = _arrays(run / "evaluation.npz", len(manifest.submodels))
    judged = judged_summary(run / JUDGED_FILE)
    figures = report.read_report(run / "report.json")
    return PageInputs(figures, manifest, _log(run / "log.jsonl"), arrays, judged, read_notes(run))


def _log(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in read_regular(path).decode().splitlines()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line that is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a JSON object a line, got: {error}; delete it") from error
    return rows


def _arrays(path: Path, members: int) -> dict[str, NDArray[Any]]:
    """The complete and consistent sets of arrays."""
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
            f"{path}: expected images with what was said of them, got: {reason:.120};"
            " run eed-edge attack again"
        ) from error
    return arrays


def _check(names: tuple[str, ...], arrays: Arrays, members: int) -> None:
    """Whether a set's arrays hold the same images, pictures ``(n, h, w, c)`` of one or three channels."""
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
