"""device.py BUNDLE CASES ANSWERS.json: answer the cases on a device, by the bundle and by single files.

The script needs the device package alone; ``arm64.py`` runs it under emulation.
"""

import json
import math
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import eed_edge
from eed_edge.images.preprocess import prepare


def main(bundle: Path, folder: Path, target: Path) -> None:
    """Answer by every rule, the bundle image by image and the single file in batches."""
    cases = json.loads((folder / "cases.json").read_text())
    pictures = np.frombuffer((folder / "images.bin").read_bytes(), np.uint8).reshape(cases["shape"])
    one, many = cases["batches"]
    answers = []
    for rule in cases["rules"]:
        net = eed_edge.load(bundle, rule=rule, deadline_ms=math.inf)
        file = eed_edge.load(folder / f"{rule}.onnx")
        images = np.stack([prepare(picture, net.manifest.input) for picture in pictures])
        for how, called, batch in (("bundle", net, one), ("file", file, many)):  # emulation is slow
            answers.append({"rule": rule, "how": f"{how}, batch {batch}", **answer(called, images, batch)})
    versions = {name: metadata.version(name) for name in ("eed-edge", "numpy", "onnxruntime")}
    versions |= {"python": platform.python_version(), "machine": platform.machine()}
    target.write_text(json.dumps({"versions": versions, "answers": answers}))


def answer(net: Any, images: Any, batch: int) -> dict[str, Any]:
    """Labels, counts and probabilities, ``batch`` images a call."""
    parts = [net(images[at : at + batch]) for at in range(0, len(images), batch)]
    fields = {"labels": "labels", "submodels_used": "submodels_used", "probabilities": "probs"}
    return {
        name: np.concatenate([getattr(p, field) for p in parts]).tolist() for name, field in fields.items()
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
