"""Compare the recorded golden answers with what every model of a bundle answers on this machine."""

import math
import os
from dataclasses import dataclass, replace

import numpy as np

from eed_edge.arrays import Bools, Floats
from eed_edge.errors import BundleError, InferenceError
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, DENSE_INT8_FILE, GOLDEN_FILE
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.cascade_gate import check_same_gate
from eed_edge.runtime.bundle.folder import Bundle, load_bundle, open_bundle
from eed_edge.runtime.bundle.golden_file import GoldenAnswers, read_golden
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.single_file import SingleFileCascade, open_single_file
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.engine.session import check_signature, open_session
from eed_edge.runtime.gates.margins import TIE_TOLERANCES, near_ties
from eed_edge.runtime.gates.softmax import softmax

LARGEST_DIFFERENCES = {"float32": 1e-4, "int8": 0.02}
"""Of a probability between machines, by the manifest's precision."""


@dataclass(frozen=True)
class CheckResult:
    """Result of ``check_bundle``.

    files: files of the right size and hash, the manifest included.
    images: golden images.
    ties: golden images that are decided differently, but within ``tie_tolerance`` of a tie.
    largest_difference: of a probability, over the other images; ``allowed_difference`` is the most.
    """

    name: str
    submodels: int
    files: int
    bytes: int
    images: int
    ties: int
    tie_tolerance: float
    largest_difference: float
    allowed_difference: float


def check_bundle(
    folder: str | os.PathLike[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    trusted_key: str | os.PathLike[str] | None = None,
) -> CheckResult:
    """Verify a bundle: schema, hashes, and the golden answers of every model on this machine.

    Raises:
        BundleError: anything that ``load`` rejects, an answer that differs, or a ``cascade.onnx`` of another
            gate, other classes or another input than the manifest says.
    """
    bundle = open_bundle(folder, limits=limits, trusted_key=trusted_key)
    manifest = bundle.manifest
    cascade = load_bundle(folder, deadline_ms=math.inf, limits=limits, trusted_key=trusted_key)
    expected, ties, largest_difference = check_answers(bundle, cascade, limits=limits)
    sizes = [entry.bytes for entry in manifest.submodels]
    sizes += [entry.bytes for entry in manifest.files.values()]
    return CheckResult(
        name=manifest.name,
        submodels=len(manifest.submodels),
        files=len(sizes) + 1,
        bytes=sum(sizes),
        images=len(expected.labels),
        ties=ties,
        tie_tolerance=TIE_TOLERANCES[manifest.precision],
        largest_difference=largest_difference,
        allowed_difference=LARGEST_DIFFERENCES[manifest.precision],
    )


def check_answers(
    bundle: Bundle, cascade: Cascade, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[GoldenAnswers, int, float]:
    """Answer the golden images with the sub-models, ``cascade.onnx`` and ``dense.onnx``.

    Args:
        cascade: the loaded bundle; its rule and caps may be others than the manifest's, which count here.

    Returns:
        The recorded answers, the near-ties decided otherwise, and the largest difference of a probability.

    Raises:
        BundleError: an answer differs, or a model is not the one that the manifest describes.
    """
    manifest, expected = bundle.manifest, read_golden(bundle, limits=limits)
    gate, members = manifest.gate, len(manifest.submodels)
    recorded = Cascade(
        manifest,
        cascade.submodels,
        rule=gate.rule,
        parameters=gate.parameters_of(gate.rule),
        max_submodels=min(gate.max_submodels or members, members),
        deadline_ms=None,
    )
    ties, difference = _compare(recorded(expected.images), expected, recorded, GOLDEN_FILE)
    if CASCADE_FILE in manifest.files:
        model = bundle.read(CASCADE_FILE)
        net = open_single_file(model, CASCADE_FILE, limits=limits)
        check_same_gate(model, net.manifest, bundle, limits=limits)
        more, also = _compare(_answer(net, expected.images), expected, recorded, CASCADE_FILE)
        ties, difference = max(ties, more), max(difference, also)
    if DENSE_FILE in manifest.files:
        difference = max(difference, _check_dense(bundle, DENSE_FILE, expected, limits))
    if DENSE_INT8_FILE in manifest.files:
        _check_dense(bundle, DENSE_INT8_FILE, replace(expected, dense_probs=None), limits)
    return expected, ties, difference


def _answer(net: SingleFileCascade, images: Floats) -> Prediction:
    try:
        return net(images)
    except InferenceError as error:
        raise BundleError(f"{CASCADE_FILE}: {error}") from error


def _check_dense(bundle: Bundle, name: str, expected: GoldenAnswers, limits: Limits) -> float:
    """Run the dense network on the golden images; return the largest difference from its recorded answers.

    Bundles of eed-edge 0.1 and those in int8 record none. Then its answers must be finite, and the recorded
    labels may not be its least probable classes on more than a quarter of the images and more often than its
    most probable ones; on a few images they are by chance.
    """
    model = admit(bundle.read(name), name, limits=limits)
    session = open_session(model, name)
    output = check_signature(session, name, bundle.manifest)
    shape = (len(expected.labels), len(bundle.manifest.classes))
    try:
        (logits,) = session.run([output], {bundle.manifest.input.name: expected.images})
    except Exception as error:  # onnxruntime's own exceptions share no other base class
        reason = " ".join(str(error).split())
        raise BundleError(f"{name}: failed: {reason:.200}; export the bundle again") from error
    if logits.shape != shape or not np.isfinite(logits).all():
        raise BundleError(f"{name}: expected finite logits {shape}, got others; export the bundle again")
    if expected.dense_probs is None:
        agree, opposite = ((side == expected.labels).sum() for side in (logits.argmax(1), logits.argmin(1)))
        if agree < opposite and 4 * opposite > len(logits):
            raise BundleError(
                f"{name}: expected answers like the bundle's, got its labels for {agree} of {shape[0]}"
                f" golden images and as the least probable class for {opposite}; export the bundle again"
            )
        return 0.0
    difference = float(np.abs(softmax(logits)[0] - expected.dense_probs).max())
    if not difference <= LARGEST_DIFFERENCES["float32"]:
        raise BundleError(
            f"{name}: expected the recorded probabilities, got some {difference:.1e} apart;"
            " update onnxruntime or export the bundle again"
        )
    return difference


def _compare(answer: Prediction, expected: GoldenAnswers, cascade: Cascade, name: str) -> tuple[int, float]:
    """Return how many near-ties are decided differently, and the largest difference elsewhere.

    Args:
        cascade: gives the probabilities of every sub-model, to tell near-ties.
        name: the file to name in the error.
    """
    differ: Bools = (answer.labels != expected.labels) | (answer.submodels_used != expected.submodels_used)
    ties = np.zeros(len(differ), bool)
    if differ.any():
        probs = cascade.member_probs(expected.images[differ])
        ties[differ] = near_ties(
            probs,
            cascade.rule,
            cascade.parameters,
            tolerance=TIE_TOLERANCES[cascade.manifest.precision],
            max_submodels=cascade.max_submodels,
        )
    difference = np.abs(answer.probs - expected.probs).max(axis=1)
    difference[ties] = 0
    wrong = np.flatnonzero(
        (differ & ~ties) | ~(difference <= LARGEST_DIFFERENCES[cascade.manifest.precision])
    )
    if len(wrong):
        i = wrong[0]
        raise BundleError(
            f"{name}: {len(wrong)} of {len(differ)} answers differ; image {i}: "
            f"expected label {expected.labels[i]} after {expected.submodels_used[i]} sub-models, "
            f"got {answer.labels[i]} after {answer.submodels_used[i]}, {difference[i]:.1e} apart; "
            "update onnxruntime or export the bundle again"
        )
    return int(ties.sum()), float(difference.max())
