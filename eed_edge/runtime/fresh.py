"""A program of its own that loads a bundle or an ONNX file, answers one image and prints what that cost.

``python -m eed_edge.runtime.fresh PATH THREADS``
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime  # noqa: F401  its import is not part of loading

from eed_edge.runtime.bundle import load
from eed_edge.runtime.session import open_session
from eed_edge.runtime.timing import peak_rss_mib


def measure(path: Path, threads: int) -> dict[str, float]:
    """``{load_ms, first_ms, peak_rss_mib}`` of this process."""
    started = perf_counter()
    if path.is_dir():
        cascade = load(path, threads=threads)
        loaded = perf_counter()
        cascade(np.zeros((1, *cascade.manifest.input.size), np.float32))
    else:
        session = open_session(path.read_bytes(), path.name, threads=threads)
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
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
