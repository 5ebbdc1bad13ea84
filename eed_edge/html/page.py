"""Assemble the page: each section from its data, or the command that produces the data."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jinja2

import eed_edge
from eed_edge.errors import InputError
from eed_edge.html import formats
from eed_edge.html.components import (
    ATTACK,
    BENCH,
    NARROW,
    TRAIN,
    Cell,
    Fold,
    Row,
    Section,
    Table,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import (
    attacked,
    curves,
    example_strip,
    headline,
    learning_curves,
    verdict,
)
from eed_edge.images.evaluation_images import IMAGES, STRIP
from eed_edge.provenance import BASELINES
from eed_edge.report.one_clock import with_one_clock
from eed_edge.train.data.duplicates import duplicates_line

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A section's title, the command that produces its data, and its builder."""

    title: str
    command: str
    build: Callable[[PageInputs], Section]


# In reading order, by the field of report.json that each is made of.
PARTS = {
    "accuracy": Part("Accuracy", ATTACK, headline.accuracy_section),
    "latency": Part("Speed", BENCH, headline.speed_section),
    "prefixes": Part("Fewer sub-models", ATTACK, headline.prefixes_section),
    "cost": Part("Size", ATTACK, headline.size_section),
    "examples": Part("Examples", ATTACK, example_strip.examples_section),
    "adaptive": Part("Adaptive evaluation", ATTACK, attacked.adaptive_section),
    "slowdown": Part("Slowdown attack", ATTACK, attacked.slowdown_section),
    "curves": Part("Curves", ATTACK, curves.curves_section),
    "undecided": Part("Images that need more than one", ATTACK, example_strip.undecided_section),
    "attacks": Part("Attacks", ATTACK, attacked.attacks_section),
    "replay": Part("Replay on the exported files", ATTACK, attacked.parity_section),
    "shift": Part("Away from the calibration data", ATTACK, attacked.shift_section),
    "narrow": Part("Networks of the same latency", NARROW, attacked.baselines_section),
    "learning": Part("Learning curves", TRAIN, learning_curves.learning_section),
}

_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What values of other types or sizes than described raise."""


OF_ATTACKS = ("examples", "adaptive", "slowdown", "attacks")
"""Parts that a run without attacks leaves out unless they were measured."""


def render(sources: PageInputs) -> str:
    """Render the page as text; the same inputs give the same text.

    Raises:
        InputError: a part of the report is damaged.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eed_edge.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    one_clock = with_one_clock(sources.report, max_submodels=sources.manifest.gate.max_submodels)
    sources = replace(sources, report=one_clock)
    sections = [
        section
        for key, part in PARTS.items()
        if not (section := _section(key, part, sources)).missing or sources.attacked or key not in OF_ATTACKS
    ]
    return environment.get_template("report.html.j2").render(
        name=sources.manifest.name,
        headline=_built("accuracy, latency or cost", verdict.headline, sources),
        sections=[*sections, _built("machine, commands or recipe", provenance_section, sources)],
        version=eed_edge.__version__,
    )


def _section(key: str, part: Part, sources: PageInputs) -> Section:
    there = {
        "examples": set(STRIP) <= sources.arrays.keys(),
        "undecided": set(IMAGES) <= sources.arrays.keys(),
        "learning": bool(sources.log),
        "narrow": any(name in sources.report for name in BASELINES),
    }
    if there.get(key, bool(sources.report.get(key))):
        return _built(key, part.build, sources)
    return Section(key, part.title, missing=part.command)


def _built(key: str, build: Callable[[PageInputs], T], sources: PageInputs) -> T:
    """Call ``build``; data of an unexpected shape becomes a one-line warning."""
    try:
        return build(sources)
    except _DAMAGE as error:
        raise InputError(
            f"report.json: {key} is not as docs/REPORT.md describes it ({type(error).__name__}: {error});"
            " measure it again"
        ) from error


def provenance_section(sources: PageInputs) -> Section:
    """Provenance of the figures: machine, versions, commit, seed, commands and recipe."""
    report = sources.report
    machine = report.get("machine", {})
    rows = [_told(key, machine[key]) for key in ("cpu", "cores", "os", "python") if key in machine]
    rows += [_told(key, report[key]) for key in ("commit", "seed") if key in report]
    rows += [_told("judged on test", sources.judged)] if sources.judged else []
    if "duplicates" in report:
        _, _, found = duplicates_line(report["duplicates"]["pairs"]).partition(": ")
        rows.append(_told("duplicate pictures", found))
    tables = (Table("Machine and source", ("", ""), tuple(rows)),) if rows else ()
    folds = []
    if machine.get("versions"):
        folds.append(Fold("Versions", "\n".join(f"{k} {v}" for k, v in machine["versions"].items())))
    if report.get("commands"):
        commands = (f"# {made}\n{formats.settings(text)}" for made, text in report["commands"].items())
        folds.append(Fold("Commands", "\n".join(commands)))
    if report.get("recipe"):
        folds.append(Fold("Recipe", _toml(report["recipe"])))
    return Section("making", "How these figures were made", tables=tables, folds=tuple(folds))


def _told(name: str, value: Any) -> Row:
    return Row(name, (Cell(str(value), mark="text"),))


def _toml(recipe: Mapping[str, Any]) -> str:
    """The recipe as TOML."""
    plain = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, section in recipe.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines)
