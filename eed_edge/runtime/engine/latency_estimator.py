"""How long each sub-model takes on this machine, by batch size, learned while running."""

from collections.abc import Sequence

_FORGET_AFTER = 100  # refusals in a row on the strength of one old measurement


class LatencyEstimator:
    """Times seen so far; made for one ensemble and safe to share between threads.

    A rise counts at once, a fall slowly. A time that has only led to refusals for long is forgotten,
    so that one slow moment does not shut a sub-model out for good.
    """

    def __init__(self, macs: Sequence[int]) -> None:
        self._macs = [max(1, count) for count in macs]
        self._seconds: dict[tuple[int, int], float] = {}
        self._refused: dict[tuple[int, int], int] = {}

    def record(self, index: int, images: int, seconds: float) -> None:
        """Sub-model ``index`` took ``seconds`` for a batch of ``images``."""
        old = self._seconds.get((index, images), seconds)
        self._seconds[index, images] = max(seconds, 0.8 * old + 0.2 * seconds)
        self._refused.pop((index, images), None)

    def estimate(self, index: int, images: int) -> float:
        """Seconds that sub-model ``index`` will take; 0 before anything was seen.

        A batch size not seen yet is judged by others of the same sub-model, failing that by other
        sub-models and their MACs: in proportion to a smaller batch, no less than a larger one.
        """
        seen = dict(self._seconds)
        if (index, images) in seen:
            return seen[index, images]
        like = {key: seconds for key, seconds in seen.items() if key[0] == index} or seen
        guesses = (
            seconds * (self._macs[index] / self._macs[other]) * max(1.0, images / count)
            for (other, count), seconds in like.items()
        )
        return min(guesses, default=0.0)

    def fits_deadline(self, index: int, images: int, seconds_left: float) -> bool:
        """Whether sub-model ``index`` should be done in time."""
        if self.estimate(index, images) <= seconds_left:
            return True
        refused = self._refused[index, images] = self._refused.get((index, images), 0) + 1
        if refused >= _FORGET_AFTER:
            self._seconds.pop((index, images), None)
        return False
