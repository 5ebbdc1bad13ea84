"""Learning curves: accuracy on the tune split by stage, from the training log."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from eed_edge.html.components import (
    Chart,
    Section,
    Table,
    row,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.plot import BLUE, RED, drawing
from eed_edge.provenance import BASELINES
from eed_edge.report import formats
from eed_edge.train.system.epoch_choice import best_epoch

STAGES = {
    "base": "Base network",
    "pool": "Candidates (pool)",
    "joint": "Team, joint training",
    "narrow": "Narrow baseline",
    "single": "Single baseline",
}
LogRows = Sequence[Mapping[str, Any]]


def learning_section(sources: PageInputs) -> Section:
    """One chart per stage in the log."""
    judged = [item for item in sources.log if "clean" in item]
    logs = {key: [item for item in judged if item["stage"] == key] for key in STAGES}
    charts = tuple(_chart(key, rows) for key, rows in logs.items() if rows)
    attacked = any("attacked" in item for item in judged)
    rule = (
        "the best one is kept, by attacked accuracy plus a quarter of clean accuracy"
        if attacked
        else "the last one within a point of the best is kept"
    )
    say = f"Accuracy on the images held out for choosing (tune) after each epoch; {rule}."
    return Section(caption=(say,), charts=charts, shown=len(charts))


def _chart(stage: str, rows: LogRows) -> Chart:
    title = STAGES[stage]
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for item in rows:
        parts.setdefault(item.get("part", ""), []).append(item)
    shown = ("clean", "attacked") if all("attacked" in item for item in rows) else ("clean",)
    judged, many = shown[-1], len(parts) > 1
    best = max(records[best_epoch(records)][judged] for records in parts.values())
    caption = (
        f"{f'{len(parts)} candidates; the best was kept with' if many else 'Kept with'} {judged} accuracy"
        f" {formats.percent(best)}."
    )
    if rows[0].get("epochs") == 0:
        caption = f"Pretrained weights, not trained further: {judged} accuracy {formats.percent(best)}."
    with drawing(title, caption) as drawn:
        axes = drawn.only
        for i, records in enumerate(parts.values()):
            for key, (colour, line) in zip(shown, ((BLUE, "-"), (RED, "--")), strict=False):
                axes.plot(
                    [item.get("epoch", j) + 1 for j, item in enumerate(records)],
                    [100 * item[key] for item in records],
                    "o" if key == "clean" else "s",
                    ls=line,
                    color=colour,
                    alpha=0.5 if many else 1,
                    ms=3,
                    lw=1 if many else 1.8,
                    label=key if i == 0 else None,
                )
        axes.set(xlabel="epoch", ylabel="accuracy on tune, %")
        if max(map(len, parts.values())) == 1:
            axes.set_xlim(0, 2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        drawn.legend(2)
    cells = tuple(
        row(
            part or "last",
            str(records[-1].get("epoch", len(records) - 1) + 1),
            *(formats.percent(records[-1][key]) for key in shown),
        )
        for part, records in parts.items()
    )
    return Chart(
        title,
        caption,
        drawn.svg,
        Table("After the last epoch", ("", "Epoch", *map(str.capitalize, shown)), cells),
        sources=(stage if stage in BASELINES else "train",),
    )
