"""Load and run ``cascade.onnx``, one ONNX file with all sub-models and the gate in its graph."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge import arguments
from eed_edge.arrays import Floats, Ints
from eed_edge.errors import BundleError, InferenceError
from eed_edge.manifest import CASCADE_FILE, MANIFEST_FILE, Manifest, parse_manifest
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.folder import read_file
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.engine import latest, stream
from eed_edge.runtime.engine.accepted_images import ImagesLike, to_images
from eed_edge.runtime.engine.bundle_summary import bundle_summary
from eed_edge.runtime.engine.cascade import CHUNK
from eed_edge.runtime.engine.latest import LatestAnswer
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.engine.session import (
    DEFAULT,
    Session,
    SessionConfig,
    check_classes,
    check_input,
    open_session,
    signature,
)
from eed_edge.runtime.failures import WarnOnce, all_failed_error
from eed_edge.runtime.gates.early_exit import EarlyExitResult

logger = logging.getLogger(__name__)

MANIFEST_KEY = "eed_edge.manifest"
CLASSES_KEY = "eed_edge.classes"
OUTPUTS = {
    "probabilities": "tensor(float)",
    "submodels_used": "tensor(int64)",
    "failed_submodels": "tensor(int64)",
}
ABSTAINED = "abstained"
"""One more output, of a file whose manifest has ``abstain``."""


class SingleFileCascade:
    """A loaded ``cascade.onnx``; call it with images. Thread-safe.

    It has no deadline: a graph cannot read a clock.
    """

    deadline_ms = None

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.manifest = manifest
        self.session = session
        members = len(manifest.submodels)
        self.max_submodels = min(manifest.gate.max_submodels or members, members)
        self._names = tuple(outputs_of(manifest))
        self._warn_once = WarnOnce()

    def __repr__(self) -> str:
        gate = self.manifest.gate
        return bundle_summary(
            type(self).__name__,
            self.manifest,
            rule=gate.rule,
            parameters=gate.parameters_of(gate.rule),
            max_submodels=self.max_submodels,
        )

    def __call__(self, images: ImagesLike) -> Prediction:
        """Classify images.

        Args:
            images: as for a bundle, see ``Cascade.__call__``.

        Returns:
            As for a bundle, but ``answer_prefix`` equals ``submodels_used``: the graph does not output it.

        Raises:
            InputError: something else, pixels outside of [0, 1], or NaN.
            InferenceError: all sub-models failed for an image, or onnxruntime raised, after which a
                single file, unlike a bundle, cannot continue.
        """
        images = to_images(images, self.manifest.input)
        if not len(images):
            return self._empty()
        if len(images) <= CHUNK:
            probs, used, failures, *rest = self._run(images)
        else:
            parts = [self._run(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)]
            probs, used, failures, *rest = map(np.concatenate, zip(*parts, strict=True))
        failed = self._failed(probs, failures) if np.count_nonzero(failures) else ()
        abstained = rest[0] if rest else np.zeros(len(probs), bool)
        return Prediction(probs, probs.argmax(axis=1), used, used, True, failed, abstained)

    def predict_stream(self, items: Iterable[ImagesLike]) -> Iterator[Prediction]:
        """Classify images lazily; see ``Cascade.predict_stream``."""
        return stream.predict_stream(self, items)

    def predict_latest(self, source: Iterable[ImagesLike]) -> Iterator[LatestAnswer]:
        """Always answer the newest frame of a camera; see ``Cascade.predict_latest``."""
        return latest.predict_latest(self, source)

    def _empty(self) -> Prediction:
        """Return the prediction for no images without running the graph: some onnxruntime versions crash."""
        empty = EarlyExitResult.empty(len(self.manifest.classes))
        return Prediction(
            empty.probs,
            empty.labels,
            empty.submodels_used,
            empty.answer_prefix,
            True,
            (),
            np.zeros(0, bool),
        )

    def _run(self, images: Floats) -> Sequence[Any]:
        try:
            return self.session.run(self._names, {self.manifest.input.name: images})
        except Exception as error:  # onnxruntime's own exceptions share no other base class
            raise InferenceError(
                f"the file failed: {' '.join(str(error).split())}; use the bundle, which leaves a failing"
                " sub-model out"
            ) from error

    def _failed(self, probs: Floats, failures: Ints) -> tuple[int, ...]:
        """Return the sub-models that failed for any image, from the bits ``(n,)``; raise if all failed."""
        bits = int(np.bitwise_or.reduce(failures))
        failed = tuple(t for t in range(self.max_submodels) if bits >> t & 1)
        for t in failed:
            self._warn_once(t)
        if unanswered := int(np.count_nonzero(np.isnan(probs).any(axis=1))):
            raise all_failed_error(self.max_submodels, unanswered, len(probs))
        return failed


def load_single_file(
    path: str | os.PathLike[str], *, config: SessionConfig = DEFAULT, limits: Limits = DEFAULT_LIMITS
) -> SingleFileCascade:
    """Load a ``cascade.onnx``; its rule, threshold and caps are fixed inside the file.

    Raises:
        BundleError: not a file that ``eed-edge export --single-file`` wrote, a damaged one, or one beyond
            ``limits``.
        InputError: not a path.
        DeviceError: onnxruntime is missing or too old, or a provider is not available.
    """
    path = arguments.to_path(path)
    try:
        net = open_single_file(read_file(path, limits.model_bytes), path.name, config=config, limits=limits)
    except BundleError as error:
        if path.suffix == Path(CASCADE_FILE).suffix:
            raise
        raise BundleError(
            f"expected a bundle, the folder with its {MANIFEST_FILE}, or a {CASCADE_FILE},"
            f" got the file {path}; name one of these"
        ) from error
    if net.manifest.gate.deadline_ms is not None:
        logger.warning(
            "%s: the manifest's deadline of %g ms does not hold for a single file, whose graph has no clock;"
            " load the bundle folder to keep it",
            path.name,
            net.manifest.gate.deadline_ms,
        )
    return net


def open_single_file(
    model: bytes, name: str, *, config: SessionConfig = DEFAULT, limits: Limits = DEFAULT_LIMITS
) -> SingleFileCascade:
    """Judge and load the bytes of a ``cascade.onnx``; errors as in ``load_single_file``."""
    session: Any = open_session(admit(model, name, limits=limits), name, config=config)
    metadata = _metadata(session, name)
    manifest = parse_manifest(metadata[MANIFEST_KEY].encode())
    _check_graph(session, name, manifest)
    if metadata[CLASSES_KEY] != json.dumps(manifest.classes):
        raise BundleError(
            f"{name}: expected {CLASSES_KEY} to be the classes of {MANIFEST_KEY},"
            f" got {metadata[CLASSES_KEY]!r:.80}; export it again"
        )
    return SingleFileCascade(manifest, session)


def outputs_of(manifest: Manifest) -> dict[str, str]:
    """Return the outputs of the file by name, in order, with their types as onnxruntime writes them."""
    return OUTPUTS if manifest.abstain is None else {**OUTPUTS, ABSTAINED: "tensor(bool)"}


def _metadata(session: Any, name: str) -> Mapping[str, str]:
    """Return the metadata of the file; raise if a key that the exporter writes is missing."""
    metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    for key in (MANIFEST_KEY, CLASSES_KEY):
        if key not in metadata:
            raise BundleError(
                f"{name}: expected the metadata {key}, got none: it is no cascade.onnx; give the bundle's"
                " folder, or export with --single-file"
            )
    return metadata


def _check_graph(session: Session, name: str, manifest: Manifest) -> None:
    """Check the inputs and outputs of the graph against the manifest."""
    inputs, outputs = signature(session, name)
    check_input(inputs, name, manifest)
    types = {tensor.name: tensor.type for tensor in outputs}
    expected = outputs_of(manifest)
    if list(types.items()) != list(expected.items()):
        raise BundleError(
            f"{name}: expected the outputs {_listed(expected)}, got {_listed(types)}; export it again"
        )
    check_classes(outputs[0], name, manifest)


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())
