"""The section of curves."""

from collections.abc import Callable

from eed_edge.html.components import Chart, Section
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import behaviour, team

CURVES: dict[str, tuple[str, Callable[[PageInputs], Chart]]] = {
    "threshold": ("accuracy against time", behaviour.threshold_section),
    "eps": ("accuracy against attack radius", behaviour.eps_section),
    "stopping": ("early exit", behaviour.stopping_section),
    "agreement": ("agreement of the sub-models", team.agreement_section),
    "rd": ("robust diversity", team.diversity_section),
    "widths": ("channels of every layer", team.widths_section),
}
OF_ATTACKS = ("eps", "rd")
SHOWN = 2


def curves_section(sources: PageInputs) -> Section:
    """The charts of the measured curves."""
    there = sources.report["curves"]
    charts = tuple(draw(sources) for key, (_, draw) in CURVES.items() if there.get(key))
    return Section(sources=("attack",), charts=charts, shown=SHOWN)


def missing_curves(sources: PageInputs) -> dict[str, str]:
    """The curves that were asked for and not measured: title by the command that makes it."""
    there, missing = sources.report.get("curves", {}), {}
    for key, (title, _) in CURVES.items():
        if not there.get(key) and (sources.attacked or key not in OF_ATTACKS):
            missing[title] = "train" if key == "rd" else "attack"
    return missing
