"""``judged.jsonl``: a line for every evaluation on test images, so that a card can name each model judged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular

JUDGED_FILE = "judged.jsonl"


def read_judged(path: Path) -> list[dict[str, Any]]:
    """The records of the file in order; none without the file.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in read_regular(path).decode().splitlines()]
        if not all(isinstance(each, dict) and isinstance(each.get("bundle"), str) for each in records):
            raise ValueError("a line without a bundle")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a JSON object with a bundle a line, got: {error}; put the run's own file back"
        ) from error
    return records


def append_judged(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record; the file is written whole or not at all, and no earlier line changes."""
    lines = [json.dumps(each, allow_nan=False) + "\n" for each in (*read_judged(path), record)]
    write_atomic(path, "".join(lines).encode())


def judged_summary(path: Path) -> str:
    """How many bundles of the run were judged on test, in a sentence; empty without the file."""
    records = read_judged(path)
    bundles = len({each["bundle"] for each in records})
    if not bundles:
        return ""
    plural = "" if bundles == 1 else "s"
    calls = f"{len(records)} evaluation{'' if len(records) == 1 else 's'}"
    return f"{bundles} bundle{plural} of this run, in {calls} ({path.name})"
