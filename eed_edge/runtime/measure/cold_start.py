"""Cold-start benchmark: load a model in a new process, run one image, print timings as JSON.

``python -m eed_edge.runtime.measure.cold_start PATH THREADS SPINNING ARENA``, the last two 0 or 1
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime  # noqa: F401  imported here so that it is not part of load_ms

from eed_edge.manifest import CASCADE_FILE
from eed_edge.regular_files import read_regular
from eed_edge.runtime.engine.session import SessionConfig, open_session
from eed_edge.runtime.loading import load
from eed_edge.runtime.measure.timing import peak_rss_mib


def load_and_answer(path: Path, config: SessionConfig) -> dict[str, float]:
    """Load a model and run one zero image; return ``{load_ms, first_ms, peak_rss_mib}``."""
    started = perf_counter()
    if path.is_dir() or path.name == CASCADE_FILE:
        net = load(path, threads=config.threads, spinning=config.spinning, arena=config.arena)
        loaded = perf_counter()
        net(np.zeros((1, *net.manifest.input.size), np.float32))
    else:
        model = read_regular(path)
        session = open_session(model, path.name, config=config)
        loaded = perf_counter()
        node = session.get_inputs()[0]
        image = np.zeros([1, *(int(size or 1) for size in node.shape[1:])], np.float32)
        session.run([session.get_outputs()[0].name], {node.name: image})
    first = perf_counter() - loaded
    return {
        "load_ms": (loaded - started) * 1000,
        "first_ms": first * 1000,
        "peak_rss_mib": peak_rss_mib(),
    }


if __name__ == "__main__":
    path, threads, spinning, arena = sys.argv[1:]
    config = SessionConfig(int(threads), spinning == "1", arena == "1")
    print(json.dumps(load_and_answer(Path(path), config)))
