"""``notes.json`` of a run: what a reader of its figures must know, a sentence by name."""

import json
from collections.abc import Mapping
from pathlib import Path

from eed_edge.atomic_files import write_json
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular

NOTES_FILE = "notes.json"
MOST_BYTES = 2**20
BASE_AT_CHANCE, FEW_IMAGES, WEIGHTS_HAVE_SEEN = "base_at_chance", "few_images", "weights_have_seen"


def read_notes(run: Path) -> dict[str, str]:
    """The notes of a run folder; none without the file, as in runs of an earlier version.

    Raises:
        InputError: the file is damaged.
    """
    path = run / NOTES_FILE
    if not path.exists():
        return {}
    try:
        notes = json.loads(read_regular(path, most_bytes=MOST_BYTES).decode())
        if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
            raise ValueError("something other than a text by name")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a JSON object of texts, got: {error}; delete it and run eed-edge train again"
        ) from error
    return notes


def write_notes(run: Path, notes: Mapping[str, str]) -> None:
    """Add notes to the file and take away those that are empty."""
    merged = {name: text for name, text in {**read_notes(run), **notes}.items() if text}
    write_json(run / NOTES_FILE, merged)
