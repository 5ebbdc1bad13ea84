"""Epoch log of a run folder, ``log.jsonl``: one JSON record per epoch of every stage."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import CheckpointError
from eed_edge.files.regular_files import read_regular

TrainingCallback = Callable[[dict[str, Any]], None]
"""Called with a record after each batch (``batch``, ``batches``) and each epoch (``attacked``, …)."""


class EpochLog:
    """One line per stage, part and epoch; a repeated epoch replaces its old line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = self._read(path)

    def merge_from(self, others: Iterable[Path]) -> None:
        """Add the lines of other processes' logs, and delete those files."""
        for path in sorted(others):
            self._rows |= self._read(path)
            self._write()
            path.unlink()

    def record(self, row: dict[str, Any]) -> None:
        """Write the record of an epoch; records of batches are ignored. A ``TrainingCallback``."""
        if "batch" not in row:
            self._rows[self._key(row)] = row
            self._write()

    @staticmethod
    def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["stage"], row.get("part"), row["epoch"]

    def _read(self, path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
        lines = read_regular(path).decode().splitlines() if path.exists() else []
        try:
            return {self._key(row): row for row in map(json.loads, lines)}
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path}: expected a JSON object a line, got: {error}; delete it"
            ) from error

    def _write(self) -> None:
        lines = [json.dumps(row) + "\n" for row in self._rows.values()]
        write_atomic(self._path, "".join(lines).encode())
