"""Which threads, spinning and arena suit this machine: a small grid of them, tried on a bundle."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from eed_edge.arrays import Floats
from eed_edge.runtime.engine.session import SessionConfig
from eed_edge.runtime.measure.benchmark import open_cascade, split_batches
from eed_edge.runtime.measure.timing import Times, summary

ITEMS = 64  # calls timed per setting and round
WARM_UP = 5  # calls
SPEED_TOLERANCE = 1.02  # a setting within 2 % of the fastest is as good, and the plainest of these is better


@dataclass(frozen=True)
class TuningResult:
    """One setting and its times.

    typical_ms: the mean over images of each one's median over the rounds.
    summary: percentiles and mean of all times.
    """

    setting: SessionConfig
    typical_ms: float
    summary: dict[str, float]


def grid(cores: int) -> list[SessionConfig]:
    """The settings worth trying, the plainest first; spinning means nothing to a single thread."""
    counts = sorted({1, cores, *(2**i for i in range(1, 7) if 2**i <= cores)})
    return [
        SessionConfig(threads, spinning, arena)
        for threads in counts
        for spinning in ((False, True) if threads > 1 else (False,))
        for arena in (True, False)
    ]


def tune_session(
    folder: Path, images: Floats, *, cores: int, batch: int = 1, rounds: int = 3
) -> list[TuningResult]:
    """Time a bundle under every setting of the grid; the best one is first, then by time.

    Settings take turns round by round, one at a time in memory: threads that spin for one must not
    slow the next.

    Args:
        images: as for ``benchmark.measure``.
        rounds: at least 1.

    Raises:
        BundleError: the bundle cannot be used.
        InputError: images that do not fit.
    """
    parts = split_batches(images, batch)[:ITEMS]
    settings = grid(cores)
    times: dict[SessionConfig, list[list[float]]] = {setting: [] for setting in settings}
    for turn in range(rounds):
        for setting in settings[turn:] + settings[:turn]:
            times[setting].append(_visit(folder, setting, parts))
    tried = [_tried(setting, np.array(times[setting])) for setting in settings]
    fastest = min(one.typical_ms for one in tried)
    best = next(one for one in tried if one.typical_ms <= SPEED_TOLERANCE * fastest)
    return [best, *sorted((one for one in tried if one is not best), key=lambda one: one.typical_ms)]


def _visit(folder: Path, setting: SessionConfig, parts: list[Floats]) -> list[float]:
    net = open_cascade(folder, setting)
    for i in range(WARM_UP):
        net(parts[i % len(parts)])
    found = []
    for part in parts:
        started = perf_counter()
        net(part)
        found.append((perf_counter() - started) * 1000)
    return found


def _tried(setting: SessionConfig, times: Times) -> TuningResult:
    """From ``(rounds, items)`` milliseconds."""
    return TuningResult(setting, float(np.median(times, axis=0).mean()), summary(times))
