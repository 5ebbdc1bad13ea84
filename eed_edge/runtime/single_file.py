"""The whole ensemble in one ONNX file, ``cascade.onnx``: the gate is part of the graph."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge.errors import BundleError, InferenceError
from eed_edge.manifest import Manifest, parse
from eed_edge.runtime import onnx_wire
from eed_edge.runtime.cascade import CHUNK, Prediction
from eed_edge.runtime.inputs import check_images
from eed_edge.runtime.session import CPU, Session, open_session
from eed_edge.runtime.walk import Floats

MANIFEST_KEY = "eed_edge.manifest"
OUTPUTS = ("probabilities", "submodels_used")


class SingleFile:
    """A loaded ``cascade.onnx``; call it with images. One instance may serve many threads."""

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.manifest = manifest
        self.session = session

    def __call__(self, images: Floats) -> Prediction:
        """Classify images.

        Args:
            images: ``(n, c, h, w)`` float32 in [0, 1], as ``manifest.input`` says; n may be 0.

        Returns:
            As a bundle does, but ``answer_prefix`` is ``submodels_used``: the file tells no other.

        Raises:
            InputError: an array of another shape, type or range, or with NaN.
            InferenceError: a sub-model failed; unlike a bundle, the file cannot leave it out.
        """
        check_images(images, self.manifest.input.size)
        starts = range(0, max(1, len(images)), CHUNK)
        parts = [self._run(images[at : at + CHUNK]) for at in starts]
        probs = np.concatenate([part[0] for part in parts])
        used = np.concatenate([part[1] for part in parts])
        return Prediction(probs, probs.argmax(axis=1), used, used, True, ())

    def _run(self, images: Floats) -> Sequence[Any]:
        try:
            answer = self.session.run(OUTPUTS, {self.manifest.input.name: images})
        except Exception as error:  # onnxruntime's own exceptions share no other parent
            raise InferenceError(
                f"the file failed: {' '.join(str(error).split())}; use the bundle"
            ) from error
        if not np.isfinite(answer[0]).all():
            raise InferenceError("a sub-model gave no usable answer; use the bundle, which leaves it out")
        return answer


def load_file(
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    spinning: bool = False,
    providers: Sequence[str] = CPU,
) -> SingleFile:
    """Make a ``cascade.onnx`` ready to run; rule, threshold and caps are fixed inside it.

    Raises:
        BundleError: not a file that ``eed-edge export --single-file`` wrote, or a damaged one.
        InputError: ``threads`` below 1.
        DeviceError: onnxruntime is missing or too old, or a provider is not there.
    """
    path = Path(path)
    try:
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot open {path}: {error.strerror}; check the path") from error
    onnx_wire.inspect(model, path.name)
    session: Any = open_session(model, path.name, threads=threads, spinning=spinning, providers=providers)
    text = session.get_modelmeta().custom_metadata_map.get(MANIFEST_KEY)
    if text is None:
        raise BundleError(
            f"{path.name}: expected the metadata {MANIFEST_KEY}, got none; export --single-file"
        )
    return SingleFile(parse(text.encode()), session)
