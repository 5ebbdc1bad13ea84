"""The whole ensemble in one ONNX file, ``cascade.onnx``: the gate is part of the graph."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eed_edge.arrays import Floats, Ints
from eed_edge.errors import BundleError, InferenceError
from eed_edge.manifest import Manifest, parse_manifest
from eed_edge.runtime import arguments
from eed_edge.runtime.bundle import onnx_scan
from eed_edge.runtime.engine import stream
from eed_edge.runtime.engine.cascade import CHUNK
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
from eed_edge.runtime.engine.validate_images import check_images
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
_NAMES = tuple(OUTPUTS)


class SingleFileCascade:
    """A loaded ``cascade.onnx``; call it with images. One instance may serve many threads.

    It has no deadline: a graph has no clock.
    """

    deadline_ms = None

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.manifest = manifest
        self.session = session
        members = len(manifest.submodels)
        self.max_submodels = min(manifest.gate.max_submodels or members, members)
        self._warn_once = WarnOnce()

    def __call__(self, images: Floats) -> Prediction:
        """Classify images.

        Args:
            images: ``(n, c, h, w)`` float32 in [0, 1], as ``manifest.input`` says; n may be 0.

        Returns:
            As a bundle does, but ``answer_prefix`` is ``submodels_used``: the file tells no other.

        Raises:
            InputError: an array of another shape, type or range, or with NaN.
            InferenceError: all sub-models failed for an image, or onnxruntime raised; unlike a bundle,
                the file cannot go on after that.
        """
        check_images(images, self.manifest.input.size)
        if not len(images):
            return self._nothing()
        if len(images) <= CHUNK:
            probs, used, failures = self._run(images)
        else:
            parts = [self._run(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)]
            probs, used, failures = map(np.concatenate, zip(*parts, strict=True))
        failed = self._failed(probs, failures) if np.count_nonzero(failures) else ()
        return Prediction(probs, probs.argmax(axis=1), used, used, True, failed)

    def predict_stream(self, items: Iterable[Floats]) -> Iterator[Prediction]:
        """Answer images as they come; see ``Cascade.predict_stream``."""
        return stream.predict_stream(self, items)

    def _nothing(self) -> Prediction:
        """The answer for no images, without the graph: some older files and onnxruntimes would crash."""
        none = EarlyExitResult.empty(len(self.manifest.classes))
        return Prediction(none.probs, none.labels, none.submodels_used, none.answer_prefix, True, ())

    def _run(self, images: Floats) -> Sequence[Any]:
        try:
            return self.session.run(_NAMES, {self.manifest.input.name: images})
        except Exception as error:  # onnxruntime's own exceptions share no other parent
            raise InferenceError(
                f"the file failed: {' '.join(str(error).split())}; use the bundle, which leaves a failing"
                " sub-model out"
            ) from error

    def _failed(self, probs: Floats, failures: Ints) -> tuple[int, ...]:
        """The sub-models that failed for any image, from the bits ``(n,)`` of each."""
        bits = int(np.bitwise_or.reduce(failures))
        failed = tuple(t for t in range(self.max_submodels) if bits >> t & 1)
        for t in failed:
            self._warn_once(t)
        if lost := int(np.count_nonzero(np.isnan(probs).any(axis=1))):
            raise all_failed_error(self.max_submodels, lost, len(probs))
        return failed


def load_single_file(path: str | os.PathLike[str], *, config: SessionConfig = DEFAULT) -> SingleFileCascade:
    """Make a ``cascade.onnx`` ready to run; rule, threshold and caps are fixed inside it.

    Raises:
        BundleError: not a file that ``eed-edge export --single-file`` wrote, or a damaged one.
        InputError: not a path.
        DeviceError: onnxruntime is missing or too old, or a provider is not there.
    """
    path = arguments.to_path(path)
    try:
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot open {path}: {error.strerror}; check the path") from error
    onnx_scan.inspect(model, path.name)
    session: Any = open_session(model, path.name, config=config)
    texts = _metadata(session, path.name)
    manifest = parse_manifest(texts[MANIFEST_KEY].encode())
    _check_graph(session, path.name, manifest)
    if texts[CLASSES_KEY] != json.dumps(manifest.classes):
        raise BundleError(
            f"{path.name}: expected {CLASSES_KEY} to be the classes of {MANIFEST_KEY},"
            f" got {texts[CLASSES_KEY]!r:.80}; export it again"
        )
    if manifest.gate.deadline_ms is not None:
        logger.warning(
            "%s: the manifest's deadline of %g ms does not hold for a single file, whose graph has no clock;"
            " load the bundle folder to keep it",
            path.name,
            manifest.gate.deadline_ms,
        )
    return SingleFileCascade(manifest, session)


def _metadata(session: Any, name: str) -> Mapping[str, str]:
    """The texts that the exporter puts into every file, by their keys."""
    texts: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    for key in (MANIFEST_KEY, CLASSES_KEY):
        if key not in texts:
            raise BundleError(f"{name}: expected the metadata {key}, got none; export --single-file")
    return texts


def _check_graph(session: Session, name: str, manifest: Manifest) -> None:
    """Make sure that the graph takes and gives what the manifest says."""
    inputs, outputs = signature(session, name)
    check_input(inputs, name, manifest)
    found = {place.name: place.type for place in outputs}
    if list(found.items()) != list(OUTPUTS.items()):
        raise BundleError(
            f"{name}: expected the outputs {_listed(OUTPUTS)}, got {_listed(found)}; export it again"
        )
    check_classes(outputs[0], name, manifest)


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())
