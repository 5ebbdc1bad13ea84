"""The early-stopping loop: one sub-model after another, each on the images that are still undecided."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from time import perf_counter

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.manifest import Manifest
from eed_edge.runtime.engine import stream
from eed_edge.runtime.engine.latency_estimator import LatencyEstimator
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.engine.single_image import SingleImageRunner, Submodel
from eed_edge.runtime.engine.validate_images import FLOAT32, check_images
from eed_edge.runtime.failures import WarnOnce, log_failure
from eed_edge.runtime.gates.early_exit import EarlyExitResult, run_early_exit
from eed_edge.runtime.gates.rule_registry import GATE_RULES
from eed_edge.runtime.gates.single_image_exit import MAX_CLASSES, run_single_image
from eed_edge.runtime.gates.softmax import softmax

CHUNK = 128  # images at once: enough for full speed, and memory stays flat for a batch of any size


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
        parameters: Mapping[str, float],
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
        self._alone = (1, *self._size)
        self._classes = len(manifest.classes)
        self._float32 = Struct(f"{self._classes}f")
        self._pace = LatencyEstimator([entry.macs for entry in manifest.submodels])
        self._of_this_thread = threading.local()
        self._warn_once = WarnOnce()

    def __call__(self, images: Floats) -> Prediction:
        """Classify images.

        Args:
            images: ``(n, c, h, w)`` float32 in [0, 1], as ``manifest.input`` says; n may be 0.

        Raises:
            InputError: an array of another shape, type or range, or with NaN.
            InferenceError: all sub-models failed for an image.
        """
        if (
            isinstance(images, np.ndarray)
            and images.shape == self._alone
            and images.dtype == FLOAT32
            and self.deadline_ms is None
            and self._classes <= MAX_CLASSES
        ):
            answer = self._one(images)
            if answer is not None:
                return answer
        check_images(images, self._size)
        return self._batch(images)

    def predict_stream(self, items: Iterable[Floats]) -> Iterator[Prediction]:
        """Answer a camera's or a folder's images as they come, keeping none: memory stays flat.

        Args:
            items: each one image ``(c, h, w)`` or a batch ``(n, c, h, w)``, otherwise as for a call.

        Returns:
            An iterator with one prediction per item, in order; the deadline holds for each.

        Raises:
            InputError: ``items`` cannot be iterated over; while iterating, an unfit item, by its number
                from 0.
            InferenceError: while iterating, all sub-models failed for an image.
        """
        return stream.predict_stream(self, items)

    def member_probs(self, images: Floats) -> Floats:
        """What every sub-model says, ``(members, n, k)``; NaN where one gave no usable answer.

        Raises:
            InputError: as for a call.
        """
        check_images(images, self._size)
        probs = np.empty((len(self.submodels), len(images), self._classes), np.float32)
        for index in range(len(self.submodels)):
            for at in range(0, len(images), CHUNK):
                said, failed = self._run(index, images[at : at + CHUNK])
                if failed is not None:
                    said[failed] = np.nan
                probs[index, at : at + CHUNK] = said
        return probs

    def _one(self, image: Floats) -> Prediction | None:
        """The answer for one image, the fast way; None when it needs a closer look."""
        lane: SingleImageRunner | None = getattr(self._of_this_thread, "lane", None)
        if lane is None:
            lane = SingleImageRunner(self.submodels, self._input, self._size, self._classes)
            self._of_this_thread.lane = lane
        if not lane.set_image(image):
            return None
        answer = run_single_image(
            lane.logits,
            self._float32,
            GATE_RULES[self.rule],
            self.parameters,
            max_submodels=self.max_submodels,
            warn=self._warn_once,
        )
        if answer is None:
            return None
        mean, used, prefix, failed = answer
        probs = np.array([mean], np.float32)
        return Prediction(
            probs, probs.argmax(axis=1), np.array([used]), np.array([prefix]), True, tuple(failed)
        )

    def _batch(self, images: Floats) -> Prediction:
        """The answers for any number of images, chunk by chunk, each with its share of the time."""
        started, count = perf_counter(), len(images)
        failed: set[int] = set()
        parts = [EarlyExitResult.empty(self._classes)]
        for at in range(0, count, CHUNK):
            share = min(at + CHUNK, count) / count
            end = None if self.deadline_ms is None else started + self.deadline_ms / 1000 * share
            parts.append(self._walk(images[at : at + CHUNK], failed, end))
        return Prediction(
            np.concatenate([part.probs for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.submodels_used for part in parts]),
            np.concatenate([part.answer_prefix for part in parts]),
            all(part.complete for part in parts),
            tuple(sorted(failed)),
        )

    def _walk(self, images: Floats, failed_submodels: set[int], end: float | None) -> EarlyExitResult:
        """Answer one chunk; ``end`` is the time by which it should be done."""
        batch, batch_rows = images, None

        def predict(index: int, rows: Ints | None) -> tuple[Floats, Bools | None]:
            nonlocal batch, batch_rows
            if rows is not batch_rows:  # some stopped: only now is anything copied
                batch, batch_rows = images[rows], rows
            started = perf_counter()
            probs, failed = self._run(index, batch)
            if end is not None:
                self._pace.record(index, len(batch), perf_counter() - started)
            if failed is not None:
                failed_submodels.add(index)
            return probs, failed

        def may_start(index: int, count: int) -> bool:
            return end is None or self._pace.fits_deadline(index, count, end - perf_counter())

        rule = GATE_RULES[self.rule]
        last = self.max_submodels
        return run_early_exit(
            predict, len(images), rule, self.parameters, max_submodels=last, may_start=may_start
        )

    def _run(self, index: int, images: Floats) -> tuple[Floats, Bools | None]:
        """``(n, k)`` probabilities of one sub-model, 0 in failed rows, and which rows failed."""
        session, output = self.submodels[index]
        expected = (len(images), self._classes)
        try:
            logits = session.run([output], {self._input: images})[0]
            if logits.shape != expected:
                raise ValueError(f"expected logits {expected}, got {logits.shape}")
        except Exception as error:  # whatever it is, the other sub-models may still answer
            log_failure(index, error)
            return np.zeros(expected, np.float32), np.ones(len(images), bool)
        probs, failed = softmax(logits)
        if failed is not None:
            self._warn_once(index)
        return probs, failed
