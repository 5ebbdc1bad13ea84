"""Inputs of the page: report, bundle manifest, training log and example images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eed_edge import report
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular
from eed_edge.images.evaluation_images import EVALUATION_FILE, Arrays, read_evaluation_images
from eed_edge.manifest import NO_ATTACK, Manifest
from eed_edge.report.judged_file import JUDGED_FILE, judged_summary
from eed_edge.report.notes_file import read_notes


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
    arrays = read_evaluation_images(run / EVALUATION_FILE, len(manifest.submodels))
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
