"""Fuzz the walk over ONNX files with atheris: ``python -m tests.fuzz.walk_fuzzer MINUTES``; 1 on a finding.

A finding is an error other than ``BundleError``, a file that takes a minute or 2 GiB, or one that
the walk accepts and onnx's parsers refuse or read otherwise, as it is or rebuilt for onnxruntime. New inputs
go to ``build/fuzz/corpus``, findings to ``build/fuzz/finding-*``.
"""

import random
import sys
from copy import deepcopy
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["eed_edge.runtime.bundle"]):
    from eed_edge.runtime.bundle.admit import admit

import onnx

from eed_edge.errors import BundleError
from tests.hostile.disagreement import disagreement
from tests.hostile.onnx_mutations import flat, put_together, take_apart
from tests.hostile.onnx_parsers import parse_in_python, view

ROOT = Path(__file__).parents[2]
SEEDS = Path(__file__).parent / "corpus"
BUILD = ROOT / "build" / "fuzz"


class FindingError(Exception):
    """What the walk must not do."""


def judge_file(raw: bytes) -> None:
    """Raise ``FindingError`` where the walk accepts what onnx's parsers do not see alike."""
    if what := disagreement(raw):
        raise FindingError(f"accepted, and {what}")
    try:
        rebuilt = admit(raw, "a")
    except BundleError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise FindingError("not one line") from error
        return
    if what := disagreement(rebuilt):
        raise FindingError(f"rebuilt, and {what}")
    before, after = parse_in_python(raw), parse_in_python(rebuilt)
    if before is None or after is None or view(before) != view(after):
        raise FindingError("rebuilt as another model")


def mutate_fields(raw: bytes, most: int, seed: int) -> bytes:
    """Change one field of a sound file, or its bytes as libFuzzer does."""
    chance = random.Random(seed)
    try:
        tree = take_apart(raw, onnx.ModelProto.DESCRIPTOR)
        parts = list(flat(tree))
        part = chance.choice(parts)
    except (KeyError, IndexError, ValueError):  # damaged before
        return atheris.Mutate(raw, most)
    way = chance.randrange(6)
    if way == 0:
        return atheris.Mutate(raw, most)
    if way == 1:
        part.copies = chance.choice([0, 2, 3])
    elif way == 2:
        part.number = chance.randint(1, 30)
    elif way == 3:
        part.padding = {chance.choice(["tag", "length", "number"]): chance.randint(1, 5)}
    elif way == 4:
        part.content = deepcopy(chance.choice(parts).content)
        part.high_tag = chance.random() < 0.1
    elif isinstance(part.content, int):
        part.content = chance.choice([0, 1, 7, 11, 127, 128, 1 << 31, 1 << 32, (1 << 63) - 1, (1 << 64) - 1])
    elif isinstance(part.content, bytes):
        part.content = atheris.Mutate(part.content, 64)
    mutated = put_together(tree)
    return mutated if len(mutated) <= most else atheris.Mutate(raw, most)


def main(minutes: float) -> None:
    """Fuzz for so many minutes; libFuzzer ends the process, with 77 or 70 on a finding."""
    (BUILD / "corpus").mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={round(60 * minutes)}",
        *("-timeout=60", "-rss_limit_mb=2048", "-max_len=8192", "-verbosity=1", "-print_final_stats=1"),
        f"-artifact_prefix={BUILD}/finding-",
    ]
    words = [sys.argv[0], *options, str(BUILD / "corpus"), str(SEEDS)]
    atheris.Setup(words, judge_file, custom_mutator=mutate_fields)
    atheris.Fuzz()


if __name__ == "__main__":
    main(float(sys.argv[1]))
