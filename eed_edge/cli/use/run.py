"""``eed-edge run``: classify pictures with a bundle or a cascade.onnx."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.display.output import print_answer, print_notice, print_object
from eed_edge.cli.options import help_examples
from eed_edge.errors import EedError, InputError
from eed_edge.printable import printable

if TYPE_CHECKING:
    from eed_edge.arrays import Floats
    from eed_edge.manifest import InputSpec, Manifest
    from eed_edge.runtime.engine.prediction import Prediction

BATCH = 32  # pictures in memory at once


@dataclass(frozen=True)
class Picture:
    """One image ready for the network, ``(c, h, w)``, what to call it, and its label if known."""

    name: str
    image: "Floats"
    truth: int | None = None


@click.command(
    "run",
    short_help="Classify pictures.",
    epilog=help_examples("eed-edge run bundle cat.png", "eed-edge run bundle test-pictures.npz --json"),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image instead of a table.")
@click.option(
    "--rule", type=click.Choice(["confidence", "agreement", "geometric"]), help="Another stop rule."
)
@click.option("--threshold", type=float, help="Confidence in [0, 1], or votes with --rule agreement.")
@click.option("--max-submodels", type=click.IntRange(min=1), help="At most this many sub-models per image.")
@click.option(
    "--deadline-ms", type=click.FloatRange(min=0), help="Time per image; the best answer so far counts."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads per call.")
@click.option("--spinning/--no-spinning", default=False, help="Let idle threads spin; see bench --tune.")
@click.option("--arena/--no-arena", default=True, help="Keep memory for the next call.")
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    files: tuple[Path, ...],
    as_json: bool,
    rule: str | None,
    threshold: float | None,
    max_submodels: int | None,
    deadline_ms: float | None,
    threads: int,
    spinning: bool,
    arena: bool,
) -> None:
    """Classify FILES, pictures or NPZ sets of pictures, with a BUNDLE folder or a cascade.onnx.

    BUNDLE may be hf:OWNER/NAME@REVISION, which is fetched from a model hub and verified like any other.
    An unreadable file is named on stderr, the others are answered all the same; the exit code is then 1.
    """
    from eed_edge.runtime.arguments import to_path
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.runtime.bundle.hub import local_path
    from eed_edge.runtime.loading import load

    bundle = Path(local_path(bundle))
    if not to_path(bundle).is_file():  # which has its settings inside and takes no others
        _check_threshold(threshold, rule, open_bundle(bundle).manifest)
    net = load(
        bundle,
        rule=rule,
        threshold=threshold,
        max_submodels=max_submodels,
        deadline_ms=deadline_ms,
        threads=threads,
        spinning=spinning,
        arena=arena,
    )
    unreadable: list[Path] = []
    pictures = _pictures(files, net.manifest.input, unreadable)
    size = BATCH if net.deadline_ms is None else 1  # a deadline is for one image
    if not as_json:
        print_answer(_HEADER)
    while batch := list(islice(pictures, size)):
        for picture, prediction, i in _predictions(net, batch):
            answer = _answer(picture, prediction, i, net.manifest)
            print_object(answer) if as_json else print_answer(_row(answer))
    ctx.exit(1 if unreadable else 0)


def _check_threshold(threshold: float | None, rule: str | None, manifest: "Manifest") -> None:
    from eed_edge.errors import InputError
    from eed_edge.runtime.gates.rule_registry import GATE_RULES

    if threshold is None:
        return
    try:
        GATE_RULES[rule or manifest.gate.rule].parameters_from_threshold(threshold, len(manifest.submodels))
    except InputError as error:
        raise click.UsageError(f"--threshold: {error}") from error


def _pictures(files: tuple[Path, ...], spec: "InputSpec", unreadable: list[Path]) -> Iterator[Picture]:
    """The images of all files one by one; a file that cannot be read is named on stderr and noted."""
    for path in files:
        try:
            yield from (
                _npz_pictures(path, spec) if path.suffix.lower() == ".npz" else _one_picture(path, spec)
            )
        except (EedError, MemoryError) as error:
            reason = str(error) if isinstance(error, EedError) else f"{path}: too large for the memory left"
            print_notice(f"error: {printable(reason)}")
            unreadable.append(path)


def _one_picture(path: Path, spec: "InputSpec") -> Iterator[Picture]:
    from eed_edge.images.preprocess import open_picture

    yield Picture(str(path), open_picture(path, spec))


def _npz_pictures(path: Path, spec: "InputSpec") -> Iterator[Picture]:
    from eed_edge.images.npz import read_npz
    from eed_edge.images.preprocess import prepare

    images, labels = read_npz(path)
    for i, image in enumerate(images):
        try:
            prepared = prepare(image, spec)
        except InputError as error:
            raise InputError(f"{path}[{i}]: {error}") from error
        yield Picture(f"{path}[{i}]", prepared, None if labels is None else int(labels[i]))


def _predictions(
    net: "Callable[[Floats], Prediction]", batch: list[Picture]
) -> "Iterator[tuple[Picture, Prediction, int]]":
    """Each picture and where its answer is, in a prediction whose ``failed_submodels`` are the picture's."""
    whole = net(_stack(batch))
    for i, picture in enumerate(batch):
        if whole.failed_submodels and len(batch) > 1:  # for some of them
            yield picture, net(_stack([picture])), 0
        else:
            yield picture, whole, i


def _stack(pictures: list[Picture]) -> "Floats":
    import numpy as np

    return np.stack([picture.image for picture in pictures])


def _answer(picture: Picture, prediction: "Prediction", i: int, manifest: "Manifest") -> dict[str, Any]:
    label = int(prediction.labels[i])
    answer: dict[str, Any] = {
        "file": picture.name,
        "label": label,
        "class": manifest.classes[label],
        "probability": float(prediction.probs[i, label]),
        "submodels_used": int(prediction.submodels_used[i]),
    }
    if manifest.abstain is not None:
        answer["abstained"] = bool(prediction.abstained[i])
    if picture.truth is not None:
        answer["truth"] = picture.truth
    if not prediction.complete:
        answer["complete"] = False
    if prediction.failed_submodels:
        answer["failed_submodels"] = list(prediction.failed_submodels)
    return answer


_HEADER = f"{'label':>5}  {'class':<16}  {'probability':>11}  {'sub-models':>10}  file"


def _row(answer: dict[str, Any]) -> str:
    notes = "" if answer.get("complete", True) else "  (cut by the deadline)"
    if answer.get("abstained"):
        notes += "  (abstained)"
    if "failed_submodels" in answer:
        notes += f"  (without sub-models {', '.join(map(str, answer['failed_submodels']))})"
    return (
        f"{answer['label']:>5}  {printable(answer['class']):<16}  {answer['probability']:>11.3f}  "
        f"{answer['submodels_used']:>10}  {printable(answer['file'])}{notes}"
    )
