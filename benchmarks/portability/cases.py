"""Images for every runtime, the Python runtime's answers, and the comparison with them.

A folder of cases holds ``cases.json``, ``images.bin`` (uint8, ``(n, h, w, c)``), a ``<rule>.onnx`` per rule
and ``pictures/``, the first images as PNG files. Whoever runs the cases answers with JSON: ``versions`` and
``answers``, a list of ``{rule, how, labels, submodels_used, probabilities}``.
"""

import dataclasses
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import eed_edge
from eed_edge import report
from eed_edge.errors import EedError, InputError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.images.npz import read_npz
from eed_edge.images.preprocess import prepare, prepare_uint8
from eed_edge.manifest import CASCADE_FILE, InputSpec, Manifest, Preprocess
from eed_edge.runtime.gates.margins import TIE_TOLERANCES, TOLERANCE, near_ties

Uint8 = NDArray[np.uint8]
RESULTS = Path(__file__).parents[1] / "results" / "portability.json"
FEWEST = 200
BATCHES = (1, 64)
PICTURES = 12


class MismatchError(EedError, ValueError):
    """Another runtime gave another answer."""


@dataclass(frozen=True)
class Expected:
    """The Python runtime's answers by one rule for ``n`` images; ``ties`` may fall either way.

    tolerance: by how much probabilities may differ, and how near a tie is.
    """

    labels: NDArray[np.int64]
    submodels_used: NDArray[np.int64]
    probs: NDArray[np.float32]
    ties: NDArray[np.bool_]
    tolerance: float = TOLERANCE


def write_cases(
    bundle: Path, npz: Path, folder: Path, *, tolerance: float | None = None
) -> dict[str, Expected]:
    """Fill ``folder`` and return the expected answers of each rule.

    The manifest's own rule is run from the bundle's ``cascade.onnx`` where it has one.

    Args:
        tolerance: of probabilities and ties; None: that of the bundle's precision.

    Raises:
        EedError: the bundle or the images cannot be used, or there are fewer than ``FEWEST``.
    """
    pictures, _ = read_npz(npz)
    if len(pictures) < FEWEST:
        raise InputError(f"{npz}: expected at least {FEWEST} images, got {len(pictures)}; give others")
    made = eed_edge.load(bundle).manifest
    tolerance = TIE_TOLERANCES[made.precision] if tolerance is None else tolerance
    images = np.stack([prepare(picture, made.input) for picture in pictures])
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for rule in GATE_RULES:
        net = eed_edge.load(bundle, rule=rule, deadline_ms=math.inf)
        answer = net(images)
        probs = net.member_probs(images)
        ties = near_ties(
            probs, net.rule, net.parameters, tolerance=tolerance, max_submodels=net.max_submodels
        )
        expected[rule] = Expected(answer.labels, answer.submodels_used, answer.probs, ties, tolerance)
        (folder / f"{rule}.onnx").write_bytes(_cascade(bundle, made, rule))
    (folder / "images.bin").write_bytes(pictures.tobytes())
    (folder / "classes.json").write_text(json.dumps(made.classes))
    _write_pictures(pictures[:PICTURES], folder / "pictures")
    cases = {
        "shape": pictures.shape,
        "rules": list(GATE_RULES),
        "own_rule": made.gate.rule,
        "batches": BATCHES,
        "pictures": [f"{i}.png" for i in range(PICTURES)],
        "preparations": _preparations(pictures),
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    return expected


def entry_name(where: str, bundle: Path) -> str:
    """The name of a runtime's figures, which tells an int8 bundle's from those of a float one."""
    precision = eed_edge.load(bundle).manifest.precision
    return where if precision == "float32" else f"{where}, {precision}"


def _cascade(bundle: Path, made: Manifest, rule: str) -> bytes:
    if rule == made.gate.rule and CASCADE_FILE in made.files:
        return (bundle / CASCADE_FILE).read_bytes()
    models = [(bundle / entry.file).read_bytes() for entry in made.submodels]
    gate = dataclasses.replace(made.gate, rule=rule)  # type: ignore[arg-type]
    return to_cascade(models, dataclasses.replace(made, gate=gate))


def _write_pictures(pictures: Uint8, folder: Path) -> None:
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(folder / f"{i}.png")


def _preparations(pictures: Uint8) -> list[dict[str, Any]]:
    """Ways of preprocessing with one picture each, RGBA of 37 by 29 pixels, and what Pillow makes of it."""
    preparations = []
    for i, interpolation in enumerate(("nearest", "bilinear", "bicubic", "lanczos") * 2):
        grid = np.concatenate(pictures[6 * i : 6 * i + 6], axis=1)  # wider than 37 pixels
        red = np.resize(grid[:, :, 0], (29, 37))
        rgba = np.stack([red, np.roll(red, 5), 255 - red, np.roll(red, 11) | 64], axis=2)
        small, channels = i < 4, "L" if i % 2 else "RGB"
        preprocess = Preprocess(
            resize=(13, 17) if small else (50, 41),
            crop=(12, 11) if small else (32, 32),
            interpolation=interpolation,  # type: ignore[arg-type]
            alpha="white" if i % 3 else "black",
        )
        size = (1 if channels == "L" else 3, *preprocess.crop)  # type: ignore[misc]
        spec = InputSpec(name="images", shape=("N", *size), channels=channels, preprocess=preprocess)  # type: ignore[arg-type]
        preparations.append(
            {
                "input": dataclasses.asdict(spec),
                "width": 37,
                "height": 29,
                "rgba": rgba.ravel().tolist(),
                "expected": prepare_uint8(rgba, spec).ravel().tolist(),
            }
        )
    return preparations


def compare(expected: Mapping[str, Expected], answered: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Figures by rule and way of running; an image near a tie may differ and is counted.

    Raises:
        MismatchError: a label, a count or a probability differs, or an answer is missing.
    """
    figures: dict[str, Any] = {rule: {} for rule in expected}
    for answer in answered["answers"]:
        rule, how = answer["rule"], answer["how"]
        figures[rule][how] = _compare(expected[rule], answer, f"{what}, {rule}, {how}")
    if missing := [rule for rule, ways in figures.items() if not ways]:
        raise MismatchError(f"{what}: expected answers by every rule, got none by {', '.join(missing)}")
    return figures


def _compare(expected: Expected, answer: Mapping[str, Any], where: str) -> dict[str, Any]:
    probs = np.asarray(answer["probabilities"], np.float32)
    if probs.shape != expected.probs.shape:
        raise MismatchError(f"{where}: expected probabilities {expected.probs.shape}, got {probs.shape}")
    differ = np.zeros(len(probs), bool)
    for field in ("labels", "submodels_used"):
        ours, theirs = getattr(expected, field), np.asarray(answer[field])
        apart = ours != theirs
        if (lost := np.flatnonzero(apart & ~expected.ties)).size:
            i = lost[0]
            raise MismatchError(
                f"{where}: {field} differ for {lost.size} of {len(probs)} images that are no near-ties,"
                f" first image {i}: expected {ours[i]}, got {theirs[i]}"
            )
        differ |= apart
    largest = float(np.abs(probs - expected.probs)[~differ].max(initial=0))
    if not largest <= expected.tolerance:
        raise MismatchError(
            f"{where}: expected probabilities within {expected.tolerance:g}, got a difference of {largest:g}"
        )
    return {
        "images": len(probs),
        "tolerance": expected.tolerance,
        "identical": int(len(probs) - differ.sum()),
        "near_ties": int(expected.ties.sum()),
        "largest_probability_difference": largest,
        "submodels_used": float(np.mean(answer["submodels_used"])),
    }


def check_example(printed: Sequence[tuple[int, int]], expected: Expected, what: str) -> None:
    """Compare labels and sub-models used, as an example program printed them, with the expected ones.

    Raises:
        MismatchError: an answer differs for a picture that is no near-tie, or one is missing.
    """
    if len(printed) != PICTURES:
        raise MismatchError(f"{what}: expected {PICTURES} answers, got {len(printed)}")
    for i, (label, used) in enumerate(printed):
        right = (int(expected.labels[i]), int(expected.submodels_used[i]))
        if (label, used) != right and not expected.ties[i]:
            raise MismatchError(
                f"{what}: picture {i}: expected label and sub-models used {right}, got {(label, used)}"
            )


def record(
    target: Path, name: str, answered: Mapping[str, Any], figures: Mapping[str, Any], npz: Path
) -> None:
    """Store one runtime's figures with those of the others, and print them."""
    images = max(one["images"] for ways in figures.values() for one in ways.values())
    entry = {
        "command": shlex.join([".venv/bin/python", *sys.argv]),
        "machine": report.machine(),
        "commit": report.commit(),
        "versions": answered["versions"],
        "images": f"{images} images of {npz}",
        "n": images,
        "rules": figures,
    }
    report.merge_report(target, {name: entry}, without=(name,))
    for rule, ways in figures.items():
        for how, one in ways.items():
            click.echo(
                f"{name:10} {rule:10} {how:14} {one['identical']} of {one['images']} identical,"
                f" {one['near_ties']} near-ties, probabilities within"
                f" {one['largest_probability_difference']:.1e}, {one['submodels_used']:.2f} sub-models"
            )
