"""The clock: programs take turns in blocks, in a balanced order, so that each is timed with its own caches.

A block is one program on all items in order, after a short warm-up of that program. Where programs take turns
call by call, each has the caches that its neighbour leaves: too warm after one with the same sessions, too
cold after a large network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from eed_edge.errors import InputError

Times = NDArray[np.float64]
"""Milliseconds of every call, ``(rounds, items)``."""
IndexedCall = Callable[[int], object]
"""A program; it takes the index of an item."""
CLOCKS: dict[str, Callable[[], float]] = {"wall": perf_counter, "cpu": process_time}
"""cpu: this process's own time, for programs of one thread on a machine that has other work."""
WARM_UP = 5  # untimed calls at the start of a block
ROUNDS = 4
"""Even, so that of any two programs each comes first equally often."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of two programs' times: median and quartiles over the rounds."""

    median: float
    low: float
    high: float


def in_blocks(
    calls: Mapping[str, IndexedCall],
    *,
    items: int,
    rounds: int,
    warm_up: int = WARM_UP,
    now: Callable[[], float] = perf_counter,
) -> dict[str, Times]:
    """Time programs that take turns block by block; every round has each program once.

    Args:
        warm_up: untimed calls at the start of a block, on its last items; at most one on each.
        now: seconds; one of ``CLOCKS``.

    Raises:
        InputError: no program, item or round.
    """
    _check(len(calls), items, rounds)
    names = list(calls)
    times = {name: np.empty((rounds, items)) for name in names}
    for turn in range(rounds):
        for name in (names[index] for index in balanced_order(len(names), turn)):
            times[name][turn] = time_block(calls[name], items, warm_up=warm_up, now=now)
    return times


def call_by_call(
    calls: Mapping[str, IndexedCall],
    *,
    items: int,
    rounds: int,
    now: Callable[[], float] = perf_counter,
) -> dict[str, Times]:
    """Time programs that take turns call by call: each item by every program, in a balanced order.

    Each finds the caches as another program leaves them, as on a device that does other work between two
    images. The first round is not counted.

    Raises:
        InputError: no program, item or round.
    """
    _check(len(calls), items, rounds)
    names = list(calls)
    times = {name: np.empty((rounds + 1, items)) for name in names}
    for turn in range(rounds + 1):
        for item in range(items):
            for name in (names[index] for index in balanced_order(len(names), turn + item)):
                started = now()
                calls[name](item)
                times[name][turn, item] = (now() - started) * 1000
    return {name: measured[1:] for name, measured in times.items()}


def in_pairs(
    one: IndexedCall,
    other: IndexedCall,
    *,
    items: int,
    rounds: int,
    now: Callable[[], float] = perf_counter,
) -> tuple[Times, Times]:
    """Time two programs over the same sessions; they take turns call by call, and so does which comes first.

    Both have the same caches and the same speed of the machine: for differences that are small beside the
    drift from block to block. For programs with sessions of their own it is wrong; see ``in_blocks``.

    Raises:
        InputError: no item or round.
    """
    _check(2, items, rounds)
    calls, times = (one, other), np.empty((2, rounds + 1, items))
    for turn in range(rounds + 1):
        for item in range(items):
            for which in _first_in_turn(turn + item):
                started = now()
                calls[which](item)
                times[which, turn, item] = (now() - started) * 1000
    return times[0, 1:], times[1, 1:]  # the first round warms up


def time_block(
    call: IndexedCall,
    items: int,
    *,
    warm_up: int = WARM_UP,
    now: Callable[[], float] = perf_counter,
) -> Times:
    """Return the milliseconds of a program on every item, ``(items,)``, after its warm-up."""
    times = np.empty(items)
    for item in range(max(0, items - warm_up), items):
        call(item)
    for item in range(items):
        started = now()
        call(item)
        times[item] = (now() - started) * 1000
    return times


def balanced_order(programs: int, turn: int) -> list[int]:
    """Return the order of the programs in a round: a row of a balanced Latin square, or its reverse.

    Rounds 2k and 2k + 1 are each other's reverse. Over ``programs`` rounds, or twice as many if that is odd,
    every program comes directly after every other one equally often.

    Source:
        Williams, Experimental designs balanced for the estimation of residual effects of treatments, 1949.
    """
    first = [(step + 1) // 2 if step % 2 else -(step // 2) for step in range(programs)]  # 0, 1, -1, 2, -2, …
    row = [(index + turn // 2) % programs for index in first]
    return row[::-1] if turn % 2 else row


def ratio(
    numerator: Times, denominator: Times, *, typical: Callable[..., NDArray[np.float64]] = np.mean
) -> Ratio:
    """Return the ratio of two programs' times, round by round, as its median and quartiles.

    Args:
        typical: what the times of a block become; it takes ``axis``.
    """
    by_round = typical(numerator, axis=1) / typical(denominator, axis=1)
    low, median, high = (float(value) for value in np.percentile(by_round, (25, 50, 75)))
    return Ratio(median, low, high)


def summary(times: Times) -> dict[str, float]:
    """Return percentiles and mean of all calls, and quartiles over the rounds of a round's mean.

    Returns:
        ``{p50_ms, p90_ms, p99_ms, mean_ms, p25_ms, p75_ms}`` of all calls; ``{mean_low_ms, mean_high_ms}``,
        the quartiles of the rounds' means.
    """
    p25, p50, p75, p90, p99 = (float(ms) for ms in np.percentile(times, (25, 50, 75, 90, 99)))
    low, high = (float(ms) for ms in np.percentile(times.mean(axis=1), (25, 75)))
    return {
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "mean_ms": float(times.mean()),
        "p25_ms": p25,
        "p75_ms": p75,
        "mean_low_ms": low,
        "mean_high_ms": high,
    }


def _check(programs: int, items: int, rounds: int) -> None:
    if not programs or items < 1 or rounds < 1:
        raise InputError(
            f"expected something to time, got {programs} programs, {items} items, {rounds} rounds;"
            " give at least one of each"
        )


def _first_in_turn(turn: int) -> tuple[int, int]:
    return (turn % 2, 1 - turn % 2)
