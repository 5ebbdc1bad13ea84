"""Measure a folder of networks: the time of each by the clock, shared out to layers by onnxruntime's profile.

The clock gives the time of a network without a profiler, the profile each layer's part of it, once the time
that the profiler adds to every node is subtracted; comparing the two over all networks gives that time.
Layers that are timed alone do not add up: inside a network each finds the caches as its neighbour left them.
"""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge import report
from eed_edge.errors import InferenceError, InputError
from eed_edge.latency.ladder_index import SLOT, LadderNetwork, read_index, read_network
from eed_edge.latency.latency_table import LatencyTable
from eed_edge.latency.time_surface import NetworkTimes, fit_layers, held_out_errors
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.engine.session import SessionConfig, open_session
from eed_edge.runtime.measure.clock import ROUNDS, balanced_order, time_block
from eed_edge.runtime.measure.conditions import conditions_between, conditions_line, snapshot

BLOCK_S = 0.1
"""Seconds of a block of calls."""
LEAST_CALLS, MOST_CALLS = 16, 256
LEAST_SHARE = 0.1
"""Of what the profile says of a slot, at least this much stays after the profiler's own time is taken off."""
EVENT = re.compile(rf"{SLOT}(\d+)_")


def profile_folder(
    folder: Path,
    *,
    threads: int = 1,
    rounds: int = ROUNDS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LatencyTable:
    """Measure every network of the folder, one image a call, and fit a table to the times.

    The networks take turns, round by round, so that a change of the machine's speed meets them all.

    Args:
        folder: written by ``eed-edge profile --networks``.
        on_progress: called with the blocks done and their number.

    Raises:
        InputError: the folder or a file is not what the index says, or ``rounds`` below 1.
        BundleError: onnxruntime cannot use a network.
    """
    if rounds < 1:
        raise InputError(f"expected one round or more, got {rounds}; raise it")
    ladder, config = read_index(folder), SessionConfig(threads=threads)
    count = len(ladder.networks)
    before, blocks = snapshot(), np.empty((rounds, count))
    profiles: list[list[NDArray[np.float64]]] = [[] for _ in range(count)]
    image = np.random.default_rng(0).random((1, *ladder.input), np.float32)
    for turn in range(rounds):
        for done, i in enumerate(balanced_order(count, turn)):
            model = admit(read_network(folder, ladder.networks[i]), ladder.networks[i].file)
            blocks[turn, i] = _block_ms(model, image, config)
            profiles[i].append(_profiled(model, ladder.networks[i], image, config))
            on_progress(turn * count + done + 1, rounds * count)
    times = np.median(blocks, axis=0)
    shares = slot_shares(times, [np.median(each, axis=0) for each in profiles])
    networks = [
        _layer_times(network, float(ms), parts)
        for network, ms, parts in zip(ladder.networks, times, shares, strict=True)
    ]
    return LatencyTable(
        arch=ladder.arch,
        architecture=ladder.architecture,
        precision=ladder.precision,
        threads=threads,
        input=ladder.input,
        dense_ms=float(times[0]),
        layers=fit_layers(networks),
        held_out=held_out_errors(networks),
        machine=report.machine(),
        conditions=conditions_line(conditions_between(before, snapshot())),
        commit=report.commit(),
    )


def _block_ms(model: bytes, image: NDArray[np.float32], config: SessionConfig) -> float:
    """Median milliseconds of the calls of a block."""
    session = open_session(model, "network.onnx", config=config)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def call(_: int) -> object:
        return session.run([output], {name: image})

    call(0)
    started = perf_counter()
    call(0)
    calls = int(np.clip(BLOCK_S / (perf_counter() - started), LEAST_CALLS, MOST_CALLS))
    return float(np.median(time_block(call, calls, warm_up=5, now=perf_counter)))


def _profiled(
    model: bytes, network: LadderNetwork, image: NDArray[np.float32], config: SessionConfig
) -> NDArray[np.float64]:
    """Microseconds and number of nodes of each slot in a run, ``(slots, 2)``."""
    with tempfile.TemporaryDirectory() as place:
        session: Any = open_session(model, network.file, config=config, profile=Path(place, "profile"))
        name = session.get_inputs()[0].name
        started = perf_counter()
        for calls in range(MOST_CALLS):
            session.run(None, {name: image})
            if calls >= LEAST_CALLS and perf_counter() - started > BLOCK_S:
                break
        events = json.loads(Path(session.end_profiling()).read_bytes())
    runs = slot_times(events, len(network.slots))
    middle = np.sort(runs, axis=0)[len(runs) // 4 : len(runs) - len(runs) // 4]
    parts: NDArray[np.float64] = middle.mean(axis=0)  # in whole microseconds each, so a mean tells more
    if not parts.sum():
        raise InferenceError(
            f"{network.file}: onnxruntime's profile names no node of it; use another version"
        )
    return parts


def slot_shares(
    times: NDArray[np.float64], profiles: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """The share of each slot in the time of its network, ``(slots,)`` of every network.

    One ``a·microseconds + d·nodes`` is fitted to the times of all networks; d is what a node costs outside
    of its kernel less what the profiler adds to it.

    Args:
        times: milliseconds of every network by the clock.
        profiles: microseconds and nodes of each slot, ``(slots, 2)``.
    """
    sums = np.stack([profile.sum(axis=0) for profile in profiles])
    numbers = np.linalg.lstsq(sums / times[:, None], np.ones(len(times)), rcond=None)[0]
    shares = []
    for profile in profiles:
        parts = np.maximum(profile @ numbers, LEAST_SHARE * profile[:, 0] * numbers[0])
        shares.append(parts / parts.sum())
    return shares


def slot_times(events: Sequence[dict[str, Any]], slots: int) -> NDArray[np.float64]:
    """Microseconds and nodes of each slot in each run, ``(runs, slots, 2)``, by onnxruntime's profile.

    A node that onnxruntime has inserted, such as a change of layout, counts with the node before it.
    """
    nodes = sorted(
        (event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")),
        key=lambda event: event["ts"],
    )
    runs = sorted(event["ts"] for event in events if event["name"] == "model_run")
    times, run, slot = np.zeros((len(runs), slots, 2)), -1, 0
    for event in nodes:
        while run + 1 < len(runs) and runs[run + 1] <= event["ts"]:
            run, slot = run + 1, 0
        match = EVENT.search(event["name"])
        slot = int(match[1]) if match else slot
        times[run, slot] += (event["dur"], 1)
    return times


def _layer_times(network: LadderNetwork, ms: float, shares: NDArray[np.float64]) -> NetworkTimes:
    """The network's time shared out to its layers."""
    times = dict.fromkeys(network.slots, 0.0)
    for layer, share in zip(network.slots, shares, strict=True):
        times[layer] += ms * float(share)
    return {layer: (*network.widths[layer], part) for layer, part in times.items()}
