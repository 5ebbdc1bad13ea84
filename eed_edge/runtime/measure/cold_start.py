"""Cold-start benchmark: load a model in a new process, run images, print times and memory as JSON.

``python -m eed_edge.runtime.measure.cold_start PATH THREADS SPINNING ARENA``, the last two 0 or 1
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from time import perf_counter

import numpy as np
import onnxruntime  # noqa: F401  imported here so that it is not part of load_ms

from eed_edge.arrays import Floats
from eed_edge.manifest import CASCADE_FILE
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.folder import read_file
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS
from eed_edge.runtime.engine.session import SessionConfig, open_session
from eed_edge.runtime.loading import load
from eed_edge.runtime.measure.timing import peak_rss_mib, rss_mib

CALLS = 64
"""Images after the first one, on which memory is sampled."""


def load_and_answer(path: Path, config: SessionConfig) -> dict[str, float]:
    """Load a model, run one zero image, then ``CALLS`` images of noise.

    Returns:
        ``{load_ms, first_ms, first_answer_ms, mean_rss_mib, peak_rss_mib}``; the mean is over the calls.
    """
    plain = not path.is_dir() and path.name != CASCADE_FILE  # its bytes are judged before the clock starts
    content = admit(read_file(path, DEFAULT_LIMITS.model_bytes), path.name) if plain else b""
    started = perf_counter()
    answer, size = _opened(path, content, config)
    loaded = perf_counter()
    answer(np.zeros((1, *size), np.float32))
    first = perf_counter()
    random, memory = np.random.default_rng(0), [rss_mib()]
    for _ in range(CALLS):
        answer(random.random((1, *size), np.float32))
        memory.append(rss_mib())
    return {
        "load_ms": (loaded - started) * 1000,
        "first_ms": (first - loaded) * 1000,
        "first_answer_ms": (first - started) * 1000,
        "mean_rss_mib": fmean(memory),
        "peak_rss_mib": peak_rss_mib(),
    }


def _opened(
    path: Path, content: bytes, config: SessionConfig
) -> tuple[Callable[[Floats], object], tuple[int, ...]]:
    """Return a call of the model ``content``, or of the bundle at ``path``, and its images' ``(c, h, w)``."""
    if not content:
        net = load(path, threads=config.threads, spinning=config.spinning, arena=config.arena)
        return net, net.manifest.input.size
    session = open_session(content, path.name, config=config)
    node, output = session.get_inputs()[0], session.get_outputs()[0].name
    size = tuple(int(each or 1) for each in node.shape[1:])
    return lambda image: session.run([output], {node.name: image}), size


if __name__ == "__main__":
    path, threads, spinning, arena = sys.argv[1:]
    config = SessionConfig(int(threads), spinning == "1", arena == "1")
    print(json.dumps(load_and_answer(Path(path), config)))
