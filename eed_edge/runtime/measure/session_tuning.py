"""Session tuning: time a bundle over a small grid of threads, spinning and arena."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eed_edge.arrays import Floats
from eed_edge.runtime.engine.session import SessionConfig
from eed_edge.runtime.measure.benchmark import open_cascade, split_batches
from eed_edge.runtime.measure.clock import ROUNDS, Times, balanced_order, summary, time_block

TIMED_CALLS = 64  # per configuration and round
SPEED_TOLERANCE = 1.02  # within 2 % of the fastest counts as equally fast; the simplest of these wins


@dataclass(frozen=True)
class TuningResult:
    """One configuration and its times.

    typical_ms: mean over images of the median over rounds.
    summary: percentiles and mean of all times.
    """

    config: SessionConfig
    typical_ms: float
    summary: dict[str, float]


def grid(cores: int) -> list[SessionConfig]:
    """Return the configurations to try, the simplest first; a single thread has no use for spinning."""
    counts = sorted({1, cores, *(2**i for i in range(1, 7) if 2**i <= cores)})
    return [
        SessionConfig(threads, spinning, arena)
        for threads in counts
        for spinning in ((False, True) if threads > 1 else (False,))
        for arena in (True, False)
    ]


def tune_session(
    folder: Path, images: Floats, *, cores: int, batch: int = 1, rounds: int = ROUNDS
) -> list[TuningResult]:
    """Time a bundle under every configuration of the grid; return the best one first, then by time.

    Configurations are loaded one at a time, in the clock's order: one's spinning threads would slow the next.

    Args:
        images: as for ``measure_latency``.
        rounds: at least 1.

    Raises:
        BundleError: the bundle cannot be used.
        InputError: images that do not fit.
    """
    batches = split_batches(images, batch)[:TIMED_CALLS]
    configs = grid(cores)
    times: dict[SessionConfig, list[Times]] = {config: [] for config in configs}
    for turn in range(rounds):
        for config in (configs[index] for index in balanced_order(len(configs), turn)):
            times[config].append(_time_calls(folder, config, batches))
    results = [_result(config, np.array(times[config])) for config in configs]
    fastest = min(result.typical_ms for result in results)
    best = next(result for result in results if result.typical_ms <= SPEED_TOLERANCE * fastest)
    rest = [result for result in results if result is not best]
    return [best, *sorted(rest, key=lambda result: result.typical_ms)]


def _time_calls(folder: Path, config: SessionConfig, batches: list[Floats]) -> Times:
    """Load the bundle with ``config`` and return the milliseconds of a call on every batch."""
    net = open_cascade(folder, config)
    return time_block(lambda i: net(batches[i]), len(batches))


def _result(config: SessionConfig, times: Times) -> TuningResult:
    """Summarise ``(rounds, items)`` milliseconds."""
    return TuningResult(config, float(np.median(times, axis=0).mean()), summary(times))
