"""Running latency estimates, used to decide whether a sub-model fits into the deadline."""

from collections.abc import Sequence

_FORGET_AFTER = 100  # refusals in a row that rest on old measurements


class LatencyEstimator:
    """Running latency estimate per sub-model and batch size. Thread-safe.

    An estimate rises at once and falls slowly. After many refusals in a row of a sub-model all of its
    estimates are dropped, so that a single slow run does not exclude it forever.

    Args:
        macs: multiply-accumulate operations of each sub-model for one image.
    """

    def __init__(self, macs: Sequence[int]) -> None:
        self._macs = [max(1, count) for count in macs]
        self._seconds: dict[tuple[int, int], float] = {}
        self._refused: dict[int, int] = {}

    def record(self, index: int, images: int, seconds: float) -> None:
        """Record that sub-model ``index`` took ``seconds`` for a batch of ``images``."""
        old = self._seconds.get((index, images), seconds)
        self._seconds[index, images] = max(seconds, 0.8 * old + 0.2 * seconds)
        self._refused.pop(index, None)

    def estimate(self, index: int, images: int) -> float:
        """Estimate the seconds that sub-model ``index`` will take; 0 without any measurement.

        A new batch size is estimated from other batch sizes of the same sub-model, or else from other
        sub-models by their MACs: scaled up from a smaller batch, unchanged from a larger one.
        """
        measured = dict(self._seconds)
        if (index, images) in measured:
            return measured[index, images]
        similar = {key: seconds for key, seconds in measured.items() if key[0] == index} or measured
        estimates = (
            seconds * (self._macs[index] / self._macs[other]) * max(1.0, images / count)
            for (other, count), seconds in similar.items()
        )
        return min(estimates, default=0.0)

    def fits_deadline(self, index: int, images: int, seconds_left: float) -> bool:
        """Return whether sub-model ``index`` is expected to finish in ``seconds_left``."""
        if self.estimate(index, images) <= seconds_left:
            return True
        refused = self._refused[index] = self._refused.get(index, 0) + 1
        if refused >= _FORGET_AFTER:
            self._seconds = {key: seconds for key, seconds in self._seconds.items() if key[0] != index}
            self._refused.pop(index, None)
        return False
