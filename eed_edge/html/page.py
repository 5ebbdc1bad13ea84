"""Assemble the page: the verdict, each section from its data, and a list of what has not been measured."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jinja2

import eed_edge
from eed_edge.errors import InputError
from eed_edge.html.components import COMMANDS, Cell, Command, Fold, Row, Section, Table
from eed_edge.html.inputs import PageInputs
from eed_edge.html.sections import (
    attacked,
    baselines,
    curves,
    example_strip,
    front,
    headline,
    learning_curves,
    probability_meaning,
    speed_and_size,
)
from eed_edge.images.evaluation_images import IMAGES, STRIP
from eed_edge.provenance import BASELINES
from eed_edge.report import formats
from eed_edge.report.one_clock import with_one_clock
from eed_edge.report.report_file import DAMAGE_ERRORS
from eed_edge.train.data.duplicates import duplicates_line

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A section: its title, the command that produces its data, its builder, and whether a click opens it."""

    title: str
    command: str
    build: Callable[[PageInputs], Section]
    folded: bool = True


@dataclass(frozen=True)
class Placed:
    """A section at its place on the page; a link to a folded section points inside it, which opens it."""

    key: str
    title: str
    section: Section
    folded: bool


# In reading order, by the field of report.json that each is made of.
PARTS = {
    "accuracy": Part("Accuracy", "attack", headline.accuracy_section, folded=False),
    "latency": Part("Speed", "bench", speed_and_size.speed_section, folded=False),
    "cost": Part("Size", "attack", speed_and_size.size_section, folded=False),
    "calibration": Part(
        "What a probability means", "attack", probability_meaning.meaning_section, folded=False
    ),
    "curves": Part("Curves", "attack", curves.curves_section, folded=False),
    "examples": Part("Examples", "attack", example_strip.examples_section, folded=False),
    "prefixes": Part("Accuracy by number of sub-models", "attack", headline.prefixes_section),
    "adaptive": Part("Adaptive attacks", "attack", attacked.adaptive_section),
    "slowdown": Part("Slowdown attack", "attack", attacked.slowdown_section),
    "shift": Part("Distribution shift", "attack", probability_meaning.shift_section),
    "undecided": Part("Hard images", "attack", example_strip.undecided_section),
    "narrow": Part("Baselines of equal latency", "narrow", baselines.baselines_section),
    "attacks": Part("Settings of the attacks", "attack", attacked.attacks_section),
    "replay": Part("Exported files against PyTorch", "attack", attacked.parity_section),
    "learning": Part("Learning curves", "train", learning_curves.learning_section),
}


MACHINE = {
    "date": "Date of the last measurement",
    "cpu": "CPU",
    "cores": "Cores",
    "os": "Operating system",
    "python": "Python",
}
SOURCE = {"commit": "Git commit of eed-edge", "seed": "Random seed"}
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
    one_clock = with_one_clock(sources.report)
    sources = replace(sources, report=one_clock)
    placed = [
        Placed(key, part.title, _built(key, part.build, sources), part.folded)
        for key, part in PARTS.items()
        if _is_there(key, sources)
    ]
    made = _built("machine, commands or recipe", provenance_section, sources)
    placed.append(Placed("making", "How these figures were made", made, folded=False))
    return environment.get_template("report.html.j2").render(
        name=sources.manifest.name,
        front=_built("accuracy, latency or cost", front.front, sources),
        placed=placed,
        missing=_missing(sources),
        version=eed_edge.__version__,
    )


def _is_there(key: str, sources: PageInputs) -> bool:
    there = {
        "calibration": bool(sources.report.get("shift")),
        "examples": set(STRIP) <= sources.arrays.keys(),
        "undecided": set(IMAGES) <= sources.arrays.keys(),
        "learning": bool(sources.log),
        "narrow": any(name in sources.report for name in BASELINES),
    }
    return there.get(key, bool(sources.report.get(key)))


def _missing(sources: PageInputs) -> list[Row]:
    """Table of what was asked for and has not been measured, a row for each command."""
    titles: dict[str, list[str]] = {}
    for key, part in PARTS.items():
        if not _is_there(key, sources) and (sources.attacked or key not in OF_ATTACKS):
            titles.setdefault(part.command, []).append(part.title[0].lower() + part.title[1:])
    if sources.report.get("curves"):
        for title, command in curves.missing_curves(sources).items():
            titles.setdefault(command, []).append(title)
    return [Row(", ".join(titles[name]), (Cell(COMMANDS[name]),)) for name in COMMANDS if name in titles]


def _built(key: str, build: Callable[[PageInputs], T], sources: PageInputs) -> T:
    """Call ``build``; data of an unexpected shape becomes a one-line warning."""
    try:
        return build(sources)
    except DAMAGE_ERRORS as error:
        raise InputError(
            f"report.json: {key} is not as docs/REPORT.md describes it ({type(error).__name__}: {error});"
            " measure it again"
        ) from error


def provenance_section(sources: PageInputs) -> Section:
    """Provenance of the figures: machine, versions, commit, seed, commands and recipe."""
    report = sources.report
    machine = report.get("machine", {})
    rows = [_fact_row(title, machine[key]) for key, title in MACHINE.items() if key in machine]
    rows += [_fact_row(title, report[key]) for key, title in SOURCE.items() if key in report]
    rows += [_fact_row("Evaluations on test", sources.judged)] if sources.judged else []
    if "duplicates" in report:
        _, _, counts = duplicates_line(report["duplicates"]["pairs"]).partition(": ")
        rows.append(_fact_row("Duplicate pictures", counts))
    tables = (Table("Machine and source", ("", ""), tuple(rows)),) if rows else ()
    folds = []
    if machine.get("versions"):
        folds.append(Fold("Versions", "\n".join(f"{k} {v}" for k, v in machine["versions"].items())))
    if report.get("recipe"):
        folds.append(Fold("Recipe", _toml(report["recipe"])))
    recorded = report.get("commands", {})
    commands = tuple(Command(name, _lines(name, recorded)) for name in COMMANDS)
    return Section(tables=tables, folds=tuple(folds), commands=commands)


def _lines(name: str, recorded: Mapping[str, Any]) -> tuple[str, ...]:
    """The recorded command lines of a command, or its general form."""
    lines = [formats.settings(text) for made, text in recorded.items() if made.split()[0] == name]
    return tuple(lines) or (COMMANDS[name],)


def _fact_row(name: str, value: Any) -> Row:
    return Row(name, (Cell(str(value), mark="text"),))


def _toml(recipe: Mapping[str, Any]) -> str:
    """The recipe as TOML."""
    plain = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, section in recipe.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines)
