"""A loaded bundle: run sub-models one after another until the gate rule stops."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from time import perf_counter

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.manifest import Manifest
from eed_edge.runtime.engine import latest, stream
from eed_edge.runtime.engine.accepted_images import FLOAT32, ImagesLike, to_images
from eed_edge.runtime.engine.bundle_summary import bundle_summary
from eed_edge.runtime.engine.latency_estimator import LatencyEstimator
from eed_edge.runtime.engine.latest import LatestAnswer
from eed_edge.runtime.engine.prediction import Prediction, abstain_below, one_prediction
from eed_edge.runtime.engine.single_image import SingleImageRunner, Submodel
from eed_edge.runtime.failures import WarnOnce, log_failure
from eed_edge.runtime.gates.early_exit import EarlyExitResult, run_early_exit
from eed_edge.runtime.gates.single_image_exit import MAX_CLASSES, run_single_image
from eed_edge.runtime.gates.softmax import softmax
from eed_edge.runtime.gates.temperature import below, with_temperature_row

CHUNK = 128  # images at once: full speed, and bounded memory for a batch of any size


class Cascade:
    """A loaded bundle; call it with images. One instance may serve many threads.

    Args:
        submodels: in running order.
        rule: a key of ``GATE_RULES``, with its ``parameters`` by name.
        max_submodels: at most this many run for an image, at least 1.
        deadline_ms: time for one call; None: no deadline.
    """

    def __init__(
        self,
        manifest: Manifest,
        submodels: Sequence[Submodel],
        *,
        rule: str,
        parameters: Parameters,
        max_submodels: int,
        deadline_ms: float | None = None,
    ) -> None:
        self.manifest = manifest
        self.submodels = tuple(submodels)
        self.rule = rule
        self.parameters = dict(parameters)
        self.max_submodels = max_submodels
        self.deadline_ms = deadline_ms
        self._input, self._size = manifest.input.name, manifest.input.size
        self._classes = len(manifest.classes)
        self._single_shape = (1, *self._size) if self._classes <= MAX_CLASSES else None
        self._float32 = Struct(f"{self._classes}f")
        self._temperatures = manifest.temperatures
        self._abstain_below = abstain_below(manifest)
        self._latency = LatencyEstimator([entry.macs for entry in manifest.submodels])
        self._thread_local = threading.local()
        self._warn_once = WarnOnce()

    def __repr__(self) -> str:
        return bundle_summary(
            type(self).__name__,
            self.manifest,
            rule=self.rule,
            parameters=self.parameters,
            max_submodels=self.max_submodels,
        )

    def __call__(self, images: ImagesLike) -> Prediction:
        """Classify images.

        Args:
            images: ``(n, c, h, w)`` float32 in [0, 1] is the fastest, n may be 0. Other floats, uint8 arrays,
                one image, channels last, a picture's path, a PIL picture and lists of these are converted;
                see ``eed_edge.runtime.engine.accepted_images.to_images``.

        Raises:
            InputError: something else, pixels outside of [0, 1], or NaN.
            InferenceError: all sub-models failed for an image.
            DeviceError: a picture has to be opened or resized, and Pillow is not installed.
        """
        if (
            isinstance(images, np.ndarray)
            and images.shape == self._single_shape
            and images.dtype == FLOAT32
            and self.deadline_ms is None
        ):
            answer = self._predict_single(images)
            if answer is not None:
                return answer
        return self._predict_batch(to_images(images, self.manifest.input))

    def predict_stream(self, items: Iterable[ImagesLike]) -> Iterator[Prediction]:
        """Classify images from a camera or a folder one by one, in constant memory.

        Args:
            items: each one image or a batch, as for a call.

        Returns:
            An iterator with one prediction per item, in order; the deadline applies to each item.

        Raises:
            InputError: ``items`` cannot be iterated over; while iterating, an invalid item, named by its
                number from 0.
            InferenceError: while iterating, all sub-models failed for an image.
        """
        return stream.predict_stream(self, items)

    def predict_latest(self, source: Iterable[ImagesLike]) -> Iterator[LatestAnswer]:
        """Always answer the newest frame of a camera; frames that arrive meanwhile are dropped and counted.

        A thread takes frames from ``source`` as fast as it gives them, so it must give them in time: a camera
        does, for a file use ``eed_edge.images.frames.paced``. Closing the iterator ends the thread with its
        next frame.

        Args:
            source: frames, each one image as for a call.

        Returns:
            An iterator of answers; it ends with the source, whose last frame is answered.

        Raises:
            InputError: ``source`` cannot be iterated over; while iterating, an invalid frame, named by its
                number from 0.
            InferenceError: while iterating, all sub-models failed for a frame.
        """
        return latest.predict_latest(self, source)

    def member_probs(self, images: ImagesLike) -> Floats:
        """Return the probabilities of every sub-model, ``(members, n, k)``; NaN where it failed.

        Raises:
            InputError: as for a call.
        """
        images = to_images(images, self.manifest.input)
        probs = np.empty((len(self.submodels), len(images), self._classes), np.float32)
        for index in range(len(self.submodels)):
            for at in range(0, len(images), CHUNK):
                chunk, failed = self._run_submodel(index, images[at : at + CHUNK])
                if failed is not None:
                    chunk[failed] = np.nan
                probs[index, at : at + CHUNK] = chunk
        return probs

    def _predict_single(self, image: Floats) -> Prediction | None:
        """Classify one image on the fast path; None where the batch path must check it or raise."""
        runner: SingleImageRunner | None = getattr(self._thread_local, "runner", None)
        if runner is None:
            runner = SingleImageRunner(self.submodels, self._input, self._size, self._classes)
            self._thread_local.runner = runner
        if not runner.set_image(image):
            return None
        answer = run_single_image(
            runner.logits,
            self._float32,
            GATE_RULES[self.rule],
            self.parameters,
            max_submodels=self.max_submodels,
            warn=self._warn_once,
        )
        if answer is None:
            return None
        mean, used, prefix, failed = answer
        if self._temperatures is not None:
            mean = with_temperature_row(mean, self._temperatures[prefix - 1])
        return one_prediction(
            mean,
            used,
            prefix,
            tuple(failed),
            float32=self._float32,
            abstain_below=self._abstain_below,
        )

    def _predict_batch(self, images: Floats) -> Prediction:
        """Classify any number of images, chunk by chunk, each with its share of the deadline."""
        started, count = perf_counter(), len(images)
        failed: set[int] = set()
        parts = [EarlyExitResult.empty(self._classes)]
        for at in range(0, count, CHUNK):
            share = min(at + CHUNK, count) / count
            end = None if self.deadline_ms is None else started + self.deadline_ms / 1000 * share
            parts.append(self._predict_chunk(images[at : at + CHUNK], failed, end))
        probs = np.concatenate([part.probs for part in parts])
        return Prediction(
            probs,
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.submodels_used for part in parts]),
            np.concatenate([part.answer_prefix for part in parts]),
            all(part.complete for part in parts),
            tuple(sorted(failed)),
            below(probs, self._abstain_below),
        )

    def _predict_chunk(
        self, images: Floats, failed_submodels: set[int], end: float | None
    ) -> EarlyExitResult:
        """Classify one chunk by the time ``end`` of ``perf_counter``; None: no deadline."""
        batch, batch_rows = images, None

        def predict(index: int, rows: Ints | None) -> tuple[Floats, Bools | None]:
            nonlocal batch, batch_rows
            if rows is not batch_rows:  # some images stopped: copy the rest
                batch, batch_rows = images[rows], rows
            started = perf_counter()
            probs, failed = self._run_submodel(index, batch)
            if end is not None:
                self._latency.record(index, len(batch), perf_counter() - started)
            if failed is not None:
                failed_submodels.add(index)
            return probs, failed

        def may_start(index: int, count: int) -> bool:
            return end is None or self._latency.fits_deadline(index, count, end - perf_counter())

        return run_early_exit(
            predict,
            len(images),
            GATE_RULES[self.rule],
            self.parameters,
            max_submodels=self.max_submodels,
            may_start=may_start,
            temperatures=self._temperatures,
        )

    def _run_submodel(self, index: int, images: Floats) -> tuple[Floats, Bools | None]:
        """Return ``(n, k)`` probabilities of one sub-model, 0 in failed rows, and the mask of failed rows."""
        session, output = self.submodels[index]
        expected = (len(images), self._classes)
        try:
            logits = session.run([output], {self._input: images})[0]
            if logits.shape != expected:
                raise ValueError(f"expected logits {expected}, got {logits.shape}")
        except Exception as error:  # of any type: the other sub-models may still answer
            log_failure(index, error)
            return np.zeros(expected, np.float32), np.ones(len(images), bool)
        probs, failed = softmax(logits)
        if failed is not None:
            self._warn_once(index)
        return probs, failed
