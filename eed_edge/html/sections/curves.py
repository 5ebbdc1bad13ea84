"""The section of curves; unmeasured ones are named in a line."""

from collections.abc import Callable

from eed_edge.html.components import (
    ATTACK,
    TRAIN,
    Chart,
    Section,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import behaviour, team

CURVES: dict[str, Callable[[PageInputs], Chart]] = {
    "threshold": behaviour.threshold_section,
    "eps": behaviour.eps_section,
    "stopping": behaviour.stopping_section,
    "agreement": team.agreement_section,
    "rd": team.diversity_section,
    "widths": team.widths_section,
}


def curves_section(sources: PageInputs) -> Section:
    """The charts of the measured curves."""
    there = sources.report["curves"]
    charts = tuple(draw(sources) for key, draw in CURVES.items() if there.get(key))
    unasked = () if sources.attacked else ("eps", "rd")
    left = [key for key in CURVES if not there.get(key) and key not in ("rd", *unasked)]
    caption = [f"Not measured: {', '.join(left)}; {ATTACK} makes them."] if left else []
    if not there.get("rd") and "rd" not in unasked:
        caption.append(f"Not measured: rd; it comes with runs whose selection has kept it: {TRAIN}.")
    return Section("curves", "Curves", caption=tuple(caption), charts=charts)
