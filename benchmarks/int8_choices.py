"""Compare ways of quantising a network: time, size, and distance of the answers from the float ones.

    .venv/bin/python benchmarks/int8_choices.py SUBMODEL.onnx TRAIN.npz TEST.npz

The two NPZ files have ``images`` (n, h, w, c) uint8, the second ``labels`` as well; ranges are measured on
512 of the first, times and accuracies on the second. One image a call, one thread, block by block. Speed-ups
over the float network are the median of the rounds. Measure on an idle machine. Writes
benchmarks/results/int8-choices.json unless --json says otherwise.
"""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from eed_edge import report
from eed_edge.arrays import Floats
from eed_edge.atomic_files import write_json
from eed_edge.errors import EedError, InputError
from eed_edge.export.int8.quantise import DEFAULT_CHOICES, Int8Choices, quantise
from eed_edge.export.int8.range_images import RANGE_IMAGES
from eed_edge.images.npz import read_npz
from eed_edge.runtime.engine.session import Session, open_session
from eed_edge.runtime.gates.softmax import softmax
from eed_edge.runtime.measure.clock import CLOCKS, Times, in_blocks, ratio
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot

RESULTS = Path(__file__).parent / "results"
CHOICES: dict[str, Int8Choices] = {
    "chosen": DEFAULT_CHOICES,
    "every layer in int8": Int8Choices(float_layers=()),
    "first layer float": Int8Choices(float_layers=(0,)),
    "last layer float": Int8Choices(float_layers=(-1,)),
    "weights of 8 bits": Int8Choices(reduce_range=False),
    "one scale a weight": Int8Choices(per_channel=False),
    "ReLUs kept": Int8Choices(relus=True),
    "int8 activations": Int8Choices(unsigned_activations=False),
}
BATCH = 100


@click.command(help=__doc__)
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("train", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path))
@click.option("--n", type=click.IntRange(min=2), default=100, show_default=True, help="Images a block.")
@click.option("--rounds", type=click.IntRange(min=3), default=16, show_default=True)
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: on a busy machine.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "int8-choices.json")
def main(model: Path, train: Path, test: Path, n: int, rounds: int, clock: str, target: Path) -> None:
    """Quantise, compare, time all in turns, print a table, write the figures."""
    try:
        ranges, (images, labels) = _images(train)[0][:RANGE_IMAGES], _images(test)
        if labels is None:
            raise InputError(f"{test}: expected labels beside the images, got none; write them, too")
        files = {"float": model.read_bytes()}
        files |= {name: quantise(files["float"], ranges, choices=each) for name, each in CHOICES.items()}
    except EedError as error:
        raise click.ClickException(str(error)) from error
    sessions = {name: open_session(data, name) for name, data in files.items()}
    calls = {name: partial(_answer, session, images[:n]) for name, session in sessions.items()}
    before = snapshot()
    times = in_blocks(calls, items=min(n, len(images)), rounds=rounds, now=CLOCKS[clock])
    conditions = conditions_between(before, snapshot())
    probs = {name: _probs(session, images) for name, session in sessions.items()}
    rows = {name: _row(probs[name], probs["float"], labels) | _cost(times, name, files) for name in files}
    for name, row in rows.items():
        click.echo(
            f"{name:<22}{row['mean_ms']:>8.3f} ms{row['speedup']:>7.2f}x{row['size']:>7.3f} of the size"
            f"{100 * row['accuracy']:>7.2f} %{100 * row['same_label']:>8.2f} % same{row['divergence']:>10.1e}"
        )
    click.echo(busy_warning(conditions))
    figures = {
        "machine": report.machine(),
        "commit": report.commit(),
        "clock": clock,
        "conditions": conditions,
    }
    figures |= {"command": shlex.join([".venv/bin/python", *sys.argv]), "n": n, "rounds": rounds}
    write_json(target, {**figures, "images": len(images), "ranges": len(ranges), "choices": rows})
    click.echo(f"written: {target}")


def _images(path: Path) -> tuple[Floats, Any]:
    """``(n, c, h, w)`` in [0, 1], and the labels if there are any."""
    pictures, labels = read_npz(path)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(255), labels


def _answer(session: Session, images: Floats, i: int) -> Any:
    return session.run(["logits"], {"images": images[i : i + 1]})


def _probs(session: Session, images: Floats) -> Floats:
    parts = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
    return np.concatenate([softmax(session.run(["logits"], {"images": part})[0])[0] for part in parts])


def _row(probs: Floats, float_probs: Floats, labels: Any) -> dict[str, float]:
    """Accuracy, share of the float network's labels, and the mean divergence from its probabilities."""
    tiny = np.finfo(np.float32).tiny
    divergence = (float_probs * (np.log(float_probs + tiny) - np.log(probs + tiny))).sum(1)
    return {
        "accuracy": float((probs.argmax(1) == labels).mean()),
        "same_label": float((probs.argmax(1) == float_probs.argmax(1)).mean()),
        "divergence": float(divergence.mean()),
        "largest_difference": float(np.abs(probs - float_probs).max()),
    }


def _cost(times: dict[str, Times], name: str, files: dict[str, bytes]) -> dict[str, float]:
    return {
        "mean_ms": float(np.median(times[name].mean(axis=1))),
        "speedup": ratio(times["float"], times[name]).median,
        "size": len(files[name]) / len(files["float"]),
    }


if __name__ == "__main__":
    main()
