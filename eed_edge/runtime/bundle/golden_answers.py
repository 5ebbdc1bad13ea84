"""Golden answers: images with their recorded answers, compared with this machine's answers."""

import io
import math
import os
import zipfile
from dataclasses import dataclass

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.errors import BundleError
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, GOLDEN_FILE
from eed_edge.runtime.bundle import onnx_scan
from eed_edge.runtime.bundle.folder import Bundle, load_bundle, open_bundle
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.gates.margins import near_ties

LARGEST_DIFFERENCE = 1e-4  # of a probability, between machines
_LARGEST_ARCHIVE = 256 * 2**20  # bytes unpacked


@dataclass(frozen=True)
class GoldenAnswers:
    """Images and the recorded answers of the bundle's rule, without a deadline.

    images: ``(n, c, h, w)`` float32 in [0, 1], n at least 1.
    probs: ``(n, k)`` float32.
    labels: ``(n,)`` int64.
    submodels_used: ``(n,)`` int64.
    """

    images: Floats
    probs: Floats
    labels: Ints
    submodels_used: Ints


@dataclass(frozen=True)
class CheckResult:
    """Result of ``check_bundle``.

    files: files of the right size and hash, the manifest included.
    images: golden images.
    ties: golden images that are decided differently, but within 1e-5 of a tie.
    largest_difference: of a probability, over the other images.
    """

    name: str
    submodels: int
    files: int
    bytes: int
    images: int
    ties: int
    largest_difference: float


def check_bundle(
    folder: str | os.PathLike[str], *, trusted_key: str | os.PathLike[str] | None = None
) -> CheckResult:
    """Verify a bundle: schema, hashes, models, and the golden answers on this machine.

    Raises:
        BundleError: anything that ``load`` rejects, or an answer that differs.
    """
    bundle = open_bundle(folder, trusted_key=trusted_key)
    manifest = bundle.manifest
    cascade = load_bundle(folder, deadline_ms=math.inf, trusted_key=trusted_key)
    for name in (DENSE_FILE, CASCADE_FILE):
        if name in manifest.files:
            onnx_scan.inspect(bundle.read(name), name)
    expected = read_golden(bundle)
    ties, largest_difference = _compare(cascade, expected)
    sizes = [entry.bytes for entry in manifest.submodels]
    sizes += [entry.bytes for entry in manifest.files.values()]
    return CheckResult(
        name=manifest.name,
        submodels=len(manifest.submodels),
        files=len(sizes) + 1,
        bytes=sum(sizes),
        images=len(expected.labels),
        ties=ties,
        largest_difference=largest_difference,
    )


def read_golden(bundle: Bundle) -> GoldenAnswers:
    """Read ``golden.npz`` from its verified bytes, without unpickling.

    Raises:
        BundleError: it is damaged, or its arrays are not those of ``GoldenAnswers``.
    """
    raw, manifest = bundle.read(GOLDEN_FILE), bundle.manifest
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _LARGEST_ARCHIVE:
            raise ValueError(f"expected at most {_LARGEST_ARCHIVE} bytes unpacked, got {unpacked}")
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            count = len(arrays["labels"])
            expected = {
                "images": ((count, *manifest.input.size), "float32"),
                "probs": ((count, len(manifest.classes)), "float32"),
                "labels": ((count,), "int64"),
                "submodels_used": ((count,), "int64"),
            }
            actual = {name: arrays[name] for name in expected}
        for name, (shape, dtype) in expected.items():
            if (actual[name].shape, str(actual[name].dtype)) != (shape, dtype) or not count:
                raise ValueError(
                    f"expected {name} {shape} {dtype}, got {actual[name].shape} {actual[name].dtype}"
                )
    except Exception as error:  # a damaged archive can raise anything
        reason = " ".join(str(error).split())
        raise BundleError(f"{GOLDEN_FILE}: {reason:.200}; export the bundle again") from error
    return GoldenAnswers(**actual)


def _compare(cascade: Cascade, expected: GoldenAnswers) -> tuple[int, float]:
    """Return how many near-ties are decided differently, and the largest difference elsewhere."""
    answer = cascade(expected.images)
    differ: Bools = (answer.labels != expected.labels) | (answer.submodels_used != expected.submodels_used)
    ties = np.zeros(len(differ), bool)
    if differ.any():
        probs = cascade.member_probs(expected.images[differ])
        ties[differ] = near_ties(probs, cascade.rule, cascade.parameters, max_submodels=cascade.max_submodels)
    difference = np.abs(answer.probs - expected.probs).max(axis=1)
    difference[ties] = 0
    wrong = np.flatnonzero((differ & ~ties) | ~(difference <= LARGEST_DIFFERENCE))
    if len(wrong):
        i = wrong[0]
        raise BundleError(
            f"{GOLDEN_FILE}: {len(wrong)} of {len(differ)} answers differ; image {i}: "
            f"expected label {expected.labels[i]} after {expected.submodels_used[i]} sub-models, "
            f"got {answer.labels[i]} after {answer.submodels_used[i]}, {difference[i]:.1e} apart; "
            "update onnxruntime or export the bundle again"
        )
    return int(ties.sum()), float(difference.max())
