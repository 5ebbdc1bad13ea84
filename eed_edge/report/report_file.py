"""Read ``report.json`` and merge new figures into it."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from eed_edge.atomic_files import write_json
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular

DAMAGE_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What figures of other types or sizes than docs/REPORT.md describes raise."""


def read_report(path: Path) -> dict[str, Any]:
    """The report at ``path``.

    Raises:
        InputError: it is missing or no JSON object.
    """
    try:
        report = json.loads(read_regular(path).decode())
        if not isinstance(report, dict):
            raise ValueError(f"a {type(report).__name__}")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run eed-edge attack or eed-edge bench --run first") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a JSON object, got: {error}; move the file away and measure again"
        ) from error
    return report


def merge_report(path: Path, figures: dict[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """Merge figures into the report at ``path``, object by object; the file is written atomically.

    Args:
        without: keys of the old report that are removed first.

    Returns:
        The merged report.

    Raises:
        InputError: what is at ``path`` is not a report.
        StorageError: it cannot be written; what was there is untouched.
    """
    report = read_report(path) if path.exists() else {}
    old = {key: value for key, value in report.items() if key not in without}
    merged = _merged(old, figures)
    write_json(path, merged)
    return merged


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for key, value in new.items():
        deeper = isinstance(value, dict) and isinstance(old.get(key), dict)
        both[key] = _merged(old[key], value) if deeper else value
    return both
