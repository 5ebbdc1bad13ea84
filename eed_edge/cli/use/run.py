"""``eed-edge run``: classify pictures with a bundle or a cascade.onnx."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.completion_words import complete_bundle
from eed_edge.cli.display.output import print_answer, print_notice, print_object
from eed_edge.cli.options import GATE_RULE, PATH, THREADS, NumberRange, help_examples
from eed_edge.cli.use.run_images import InputPicture, read_all
from eed_edge.printable import printable

if TYPE_CHECKING:
    from eed_edge.arrays import Floats
    from eed_edge.manifest import Manifest
    from eed_edge.runtime.engine.prediction import Prediction

BATCH = 32  # pictures in memory at once


@click.command(
    "run",
    short_help="Classify pictures.",
    epilog=help_examples(
        "eed-edge run bundle cat.png",
        "eed-edge run bundle my-pictures/val",
        "eed-edge run bundle - --json < cat.png",
    ),
)
@click.argument("bundle", type=PATH, shell_complete=complete_bundle)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image instead of a table.")
@click.option("--rule", type=GATE_RULE, help="Another stop rule.")
@click.option(
    "--threshold",
    type=float,
    help="Confidence from 0 to 1 that stops (2: never), or votes with --rule agreement.",
)
@click.option("--max-submodels", type=click.IntRange(min=1), help="At most this many sub-models per image.")
@click.option(
    "--deadline-ms",
    type=NumberRange(min=0, infinite=True),
    help="Time per image; the best answer so far counts.",
)
@click.option("--threads", type=THREADS, default=1, show_default=True, help="Threads per call.")
@click.option(
    "--spinning/--no-spinning", default=False, help="Let idle threads spin (default: off); see bench --tune."
)
@click.option("--arena/--no-arena", default=True, help="Keep memory for the next call (default: on).")
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
    """Classify FILES with a BUNDLE folder or a cascade.onnx.

    FILES are pictures, folders (every picture in them and below, sorted), NPZ sets of pictures, or - for one
    picture on standard input. BUNDLE may be hf:OWNER/NAME@REVISION, which is fetched from a model hub and
    verified like any other. Where labels are known, from labels in the NPZ file or from subfolders named
    like the classes, the accuracy is printed too. A file that cannot be read is named on stderr after the
    rows of the others; the exit code is then 1.
    """
    from eed_edge.arguments import to_path
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.runtime.bundle.hub import local_path
    from eed_edge.runtime.loading import load

    _check_order(bundle, files, as_json=as_json)
    bundle = Path(local_path(bundle))
    if threshold is not None and not to_path(bundle).is_file():  # which takes no other settings
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
    errors: list[str] = []
    size = BATCH if net.deadline_ms is None else 1  # a deadline is for one image
    pictures = read_all(files, net.manifest, errors)
    batches = iter(lambda: list(islice(pictures, size)), [])
    _print_answers(net, batches, errors, as_json=as_json)
    for error in errors:
        print_notice(f"error: {printable(error)}")
    ctx.exit(1 if errors else 0)


def _check_order(bundle: Path, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Refuse a BUNDLE that comes after the files, and a file for the answers among them."""
    from eed_edge.cli.measuring_command import SUFFIX
    from eed_edge.manifest import MANIFEST_FILE

    for path in files:
        if as_json and path.suffix == SUFFIX and not path.is_dir():
            raise click.UsageError(f"--json of run prints a line per image; to keep them write > {path}")
    if not (bundle / MANIFEST_FILE).is_file():
        for path in files:
            if (path / MANIFEST_FILE).is_file():
                raise click.UsageError(f"BUNDLE comes first, got {bundle} before the bundle {path}")


def _print_answers(
    net: Any, batches: Iterator[list[InputPicture]], errors: list[str], *, as_json: bool
) -> None:
    """Print a row per image, and the accuracy over the images whose label is known."""
    known = right = 0
    head = not as_json
    for batch in batches:
        for picture, prediction, i in _predictions(net, batch, errors):
            answer = _answer(picture, prediction, i, net.manifest)
            if head:
                print_answer(_HEADER)
                head = False
            print_object(answer) if as_json else print_answer(_row(answer, net.manifest.classes))
            if picture.truth is not None:
                known, right = known + 1, right + (answer["label"] == picture.truth)
    if known:
        line = f"accuracy {100 * right / known:.1f} %: {right} of {known} images with a label"
        print_notice(line) if as_json else print_answer(line)


def _check_threshold(threshold: float, rule: str | None, manifest: "Manifest") -> None:
    from eed_edge.errors import InputError
    from eed_edge.gate_rules.rule_registry import GATE_RULES

    try:
        GATE_RULES[rule or manifest.gate.rule].parameters_from_threshold(threshold, len(manifest.submodels))
    except InputError as error:
        raise click.UsageError(f"--threshold: {error}") from error


def _predictions(
    net: "Callable[[Floats], Prediction]", batch: list[InputPicture], errors: list[str]
) -> "Iterator[tuple[InputPicture, Prediction, int]]":
    """Yield each picture, a prediction whose ``failed_submodels`` are the picture's, and its row there.

    Pictures without an answer are recorded in ``errors``.
    """
    from eed_edge.errors import InferenceError

    try:
        together = net(_stack(batch))
    except InferenceError as error:
        if len(batch) == 1:
            errors.append(f"{batch[0].name}: {error}")
            return
        together = None
    for i, picture in enumerate(batch):
        if together is None or (together.failed_submodels and len(batch) > 1):  # perhaps for some only
            for _, alone, row in _predictions(net, [picture], errors):
                yield picture, alone, row
        else:
            yield picture, together, i


def _stack(pictures: list[InputPicture]) -> "Floats":
    import numpy as np

    return np.stack([picture.image for picture in pictures])


def _answer(picture: InputPicture, prediction: "Prediction", i: int, manifest: "Manifest") -> dict[str, Any]:
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


def _row(answer: dict[str, Any], classes: Sequence[str]) -> str:
    truth = answer.get("truth", answer["label"])
    notes = "" if truth == answer["label"] else f"  (truth {printable(classes[truth])})"
    notes += "" if answer.get("complete", True) else "  (cut by the deadline)"
    if answer.get("abstained"):
        notes += "  (abstained)"
    if "failed_submodels" in answer:
        notes += f"  (without sub-models {', '.join(map(str, answer['failed_submodels']))})"
    return (
        f"{answer['label']:>5}  {printable(answer['class']):<16}  {answer['probability']:>11.3f}  "
        f"{answer['submodels_used']:>10}  {printable(answer['file'])}{notes}"
    )
