"""Tables that ``train`` prints after each stage, and its closing lines."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eed_edge.printable import to_copy
from eed_edge.train.system.epoch_choice import best_epoch

if TYPE_CHECKING:
    from eed_edge.train.run_folder import Run

EpochRecord = dict[str, Any]


def stage_table(stage: str, folder: Path) -> str:
    """Summarise a finished stage from the files of its run folder."""
    return TABLES[stage](stage, folder)


def closing_lines(run: "Run", until: str) -> Iterator[str]:
    """The team and the next command, then the run's notes as warnings, the worst one last."""
    from eed_edge.report.notes_file import BASE_AT_CHANCE, read_notes

    if until == "joint":
        joint = run.joint()
        diversity = "robust diversity" if run.recipe.attacked else "diversity"
        yield f"team: {', '.join(joint['members'])}; {diversity} {joint['rd']:.3f}"
        yield f"next: {to_copy('export', run.path, 'BUNDLE')}"
    else:
        yield f"finished {until}; continue with --until joint"
    notes = read_notes(run.path)
    for name in sorted(notes, key=lambda name: name == BASE_AT_CHANCE):
        yield f"warning: {notes[name]}"


def _training(stage: str, folder: Path) -> str:
    parts: dict[str, list[EpochRecord]] = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["stage"] == stage:
            parts.setdefault(row.get("part") or stage, []).append(row)
    attacked = any("attacked" in row for rows in parts.values() for row in rows)
    title = f"{'attacked':>10}" if attacked else ""
    lines = [f"{stage:<10}{'best epoch':>11}{'clean':>8}{title}{'seconds':>10}{'images/s':>10}"]
    for part, rows in parts.items():
        best = rows[best_epoch(rows)]
        seconds = sum(row.get("seconds", 0) for row in rows)
        speeds = [row["images_s"] for row in rows if "images_s" in row]
        speed = f"{sum(speeds) / len(speeds):.0f}" if speeds else "-"
        place = f"{best['epoch'] + 1}/{rows[-1]['epochs']}"  # a wsd training may have become shorter
        share = f"{best['attacked']:>10.3f}" if attacked else ""
        lines.append(f"{part:<10}{place:>11}{best['clean']:>8.3f}{share}{seconds:>10.1f}{speed:>10}")
    return "\n".join(lines)


def _selection(_: str, folder: Path) -> str:
    selection = json.loads((folder / "selection.json").read_text())
    judged = "attacked" if "attacked" in selection else "clean"
    diversity = "robust diversity" if judged == "attacked" else "diversity"
    members = "\n".join(
        f"{name:<10}{selection[f'{judged}_alone'][name]:>14.3f}" for name in selection["members"]
    )
    return (
        f"{'select':<10}{f'{judged} alone':>14}\n{members}\n"
        f"team: {judged} {selection[judged]:.3f}, {diversity} {selection['rd']:.3f}; {selection['reason']}"
    )


TABLES: dict[str, Callable[[str, Path], str]] = {
    "base": _training,
    "pool": _training,
    "select": _selection,
    "joint": _training,
    "narrow": _training,
    "single": _training,
}
