"""Charts of the deployed rule: threshold, attack radius, and the sub-model at which images stop."""

from collections.abc import Mapping, Sequence
from typing import Any

from eed_edge.html.components import (
    Cell,
    Chart,
    Row,
    Table,
    row,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.plot import BLUE, COLOURS, GREY, HATCHES, INK, LINES, MARKS, RED, drawing
from eed_edge.html.sections.headline import share
from eed_edge.report import formats
from eed_edge.report.names import NETWORKS, attack_title

NETWORK_LOOK = {name: (COLOURS[i], MARKS[i], LINES[i]) for i, name in enumerate(reversed(NETWORKS))}


def threshold_section(sources: PageInputs) -> Chart:
    """Clean and adversarial accuracy against mean latency over the gate's threshold."""
    curve = sources.report["curves"]["threshold"]
    rows = sorted(curve["rows"], key=lambda item: item["mean_ms"])
    here = _deployed(sources, rows)
    title = "Accuracy against time"
    on = formats.images(curve["images"])
    caption = f"Along the lines the gate (rule {curve['rule']}) stops later and later; on {on}."
    shown = [key for key in ("clean", "attacked") if all(key in item for item in rows)]
    if "attacked" in shown:
        caption += " Attacked: correct unmodified and under PGD-20 against every prefix."
    caption += " Bands: 95 % intervals."
    if here is not None:
        caption += f" The ring is the deployed setting, {_setting(curve['rule'], here)}."
    with drawing(title, caption) as drawn:
        axes, times = drawn.only, [item["mean_ms"] for item in rows]
        for key, (colour, mark, line) in zip(shown, ((BLUE, "o", "-"), (RED, "s", "--")), strict=False):
            axes.plot(times, _percents(rows, key), mark, ms=4, ls=line, color=colour, label=key)
            if all(key in item.get("interval", {}) for item in rows):
                low, high = _bounds(rows, key)
                axes.fill_between(times, low, high, color=colour, alpha=0.15, lw=0)
            if here is not None:
                axes.plot(here["mean_ms"], 100 * here[key], "o", ms=12, mfc="none", mec=INK, mew=1.4)
        axes.set(xlabel="mean time per image, ms", ylabel="accuracy, %")
        drawn.legend(2)
    columns = ("Threshold", *map(str.capitalize, shown), "Sub-models used", "Mean time")
    cells = tuple(
        Row(
            _setting(curve["rule"], item),
            (
                *(share(item, key) for key in shown),
                Cell(formats.plain(item["submodels_used"])),
                Cell(formats.ms(item["mean_ms"])),
            ),
        )
        for item in rows
    )
    return Chart(title, caption, drawn.svg, Table(title, columns, cells))


def _setting(rule: str, item: Mapping[str, Any]) -> str:
    """The setting of a row as text: one value, or one for each stop."""
    return ", ".join(_value(rule, value) for value in item.get("thresholds", [item["threshold"]]))


def _value(rule: str, value: float) -> str:
    """A value of the setting as text; a confidence above 1 means never stop."""
    return "never stops" if rule == "confidence" and value > 1 else formats.plain(value)


def _deployed(sources: PageInputs, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The bundle's own row; in reports of an earlier version, the one closest to its setting."""
    if deployed := next((item for item in rows if item.get("deployed")), None):
        return deployed
    gate = sources.manifest.gate
    if sources.report["curves"]["threshold"]["rule"] != gate.rule:
        return None
    setting = next(iter(gate.parameters_of(gate.rule).values()))
    return min(rows, key=lambda item: abs(item["threshold"] - setting), default=None)


def eps_section(sources: PageInputs) -> Chart:
    """Accuracy of each network against the attack radius."""
    curve = sources.report["curves"]["eps"]
    rows = sorted(curve["rows"], key=lambda item: item["eps_255"])
    shown = [name for name in NETWORKS if any(name in item for item in rows)]
    trained = sources.report.get("recipe", {}).get("base", {}).get("eps_255")
    title = "Accuracy against attack radius"
    caption = (
        f"PGD-20 of growing l∞ radius eps, on {formats.images(curve['images'])} only, which is why figures"
        " differ from those of the table Accuracy. Bars: 95 % intervals."
    )
    caption += "" if trained is None else f" The upright line is the radius of the training, {trained:g}/255."
    with drawing(title, caption) as drawn:
        axes = drawn.only
        if trained is not None:
            axes.axvline(trained, color=GREY, lw=1)
        step = 0.008 * max((item["eps_255"] for item in rows), default=0)
        for i, name in enumerate(shown):
            colour, mark, line = NETWORK_LOOK[name]
            aside = step * (i - (len(shown) - 1) / 2)  # so that bars do not hide one another
            measured = [item for item in rows if name in item]
            low, high = _bounds(measured, name)
            heights = _percents(measured, name)
            axes.errorbar(
                [item["eps_255"] + aside for item in measured],
                heights,
                yerr=(
                    [y - b for y, b in zip(heights, low, strict=True)],
                    [b - y for y, b in zip(heights, high, strict=True)],
                ),
                fmt=mark,
                ls=line,
                color=colour,
                elinewidth=1,
                label=NETWORKS[name],
            )
        axes.set(xlabel="eps, 1/255", ylabel="accuracy, %")
        axes.set_ylim(bottom=0)
        drawn.legend(3)
    cells = tuple(
        Row(f"{item['eps_255']:g}/255", tuple(share(item, name) for name in shown)) for item in rows
    )
    return Chart(title, caption, drawn.svg, Table(title, ("eps", *(NETWORKS[name] for name in shown)), cells))


def stopping_section(sources: PageInputs) -> Chart:
    """Share of images that stop at each sub-model."""
    curve = sources.report["curves"]["stopping"]
    members = max(map(len, curve.values()), default=0)
    title = "Early exit: where images stop"
    caption = "Share of images that are answered after each sub-model, in running order."
    if "pgd20" in curve:
        caption += " PGD-20: images attacked against the mean of all sub-models."
    with drawing(title, caption) as drawn:
        axes, width = drawn.only, 0.8 / max(1, len(curve))
        for i, (name, shares) in enumerate(curve.items()):
            places = [t + 1 + (i - (len(curve) - 1) / 2) * width for t in range(len(shares))]
            axes.bar(
                places,
                [100 * value for value in shares],
                width,
                color=COLOURS[i % len(COLOURS)],
                hatch=HATCHES[i % len(HATCHES)],
                edgecolor=INK,
                linewidth=0.6,
                label=attack_title(name),
            )
        axes.set(xlabel="answered after sub-model", ylabel="images, %", xticks=range(1, members + 1))
        axes.grid(axis="x", visible=False)
        drawn.legend(3)
    cells = tuple(row(attack_title(name), *map(formats.percent, shares)) for name, shares in curve.items())
    columns = ("Images", *(f"Sub-model {t + 1}" for t in range(members)))
    return Chart(title, caption, drawn.svg, Table(title, columns, cells))


def _percents(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [100 * item[key] for item in rows]


def _bounds(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Lower and upper ends of the intervals in percent; the values themselves where there are none."""
    both = [item.get("interval", {}).get(key, (item[key], item[key])) for item in rows]
    return [100 * low for low, _ in both], [100 * high for _, high in both]
