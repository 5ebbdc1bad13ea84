"""A short table of the results of a training stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def stage_table(stage: str, folder: Path) -> str:
    """Summarise a finished stage from the files of its run folder."""
    return TABLES[stage](stage, folder)


def _training(stage: str, folder: Path) -> str:
    parts: dict[str, list[Row]] = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["stage"] == stage:
            parts.setdefault(row.get("part") or stage, []).append(row)
    lines = [f"{stage:<10}{'best epoch':>11}{'clean':>8}{'attacked':>10}{'seconds':>10}{'images/s':>10}"]
    for part, rows in parts.items():
        best = max(rows, key=lambda row: (row["attacked"], row["clean"], -row["epoch"]))
        seconds = sum(row.get("seconds", 0) for row in rows)
        speeds = [row["images_s"] for row in rows if "images_s" in row]
        speed = f"{sum(speeds) / len(speeds):.0f}" if speeds else "-"
        place = f"{best['epoch'] + 1}/{rows[-1]['epochs']}"  # a wsd training may have become shorter
        lines.append(
            f"{part:<10}{place:>11}{best['clean']:>8.3f}{best['attacked']:>10.3f}{seconds:>10.1f}{speed:>10}"
        )
    return "\n".join(lines)


def _selection(_: str, folder: Path) -> str:
    found = json.loads((folder / "selection.json").read_text())
    members = "\n".join(f"{name:<10}{found['attacked_alone'][name]:>14.3f}" for name in found["members"])
    return (
        f"{'select':<10}{'attacked alone':>14}\n{members}\n"
        f"team: attacked {found['attacked']:.3f}, robust diversity {found['rd']:.3f}; {found['reason']}"
    )


TABLES: dict[str, Callable[[str, Path], str]] = {
    "base": _training,
    "pool": _training,
    "select": _selection,
    "joint": _training,
    "narrow": _training,
    "single": _training,
}
