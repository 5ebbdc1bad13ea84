"""Make a folder with a bundle of today's schema from the run of version 0.1, and its answers.

``python -m tests.formats.make_bundle tests/formats/version-X``, once for every schema. The run has formats
of version 0.1. A threshold per stop is put in by hand, since the run has too few members for one.
"""

import dataclasses
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.formats.stored import DATA, STORED


def main(folder: Path) -> None:
    """Export, and keep what the bundle says of the test images."""
    import torch

    import eed_edge
    from eed_edge.export.cascade_graph import to_cascade
    from eed_edge.export.write_bundle import write_bundle
    from eed_edge.manifest import FileEntry, dump_manifest
    from eed_edge.train.run_folder import open_run

    torch.cpu.get_capabilities = dict  # as for the run
    folder.mkdir()
    bundle = folder / "bundle"
    with tempfile.TemporaryDirectory() as temporary:
        run = shutil.copytree(STORED / "run", Path(temporary) / "run")
        manifest = write_bundle(open_run(run), bundle)
    confidence = manifest.gate.parameters.confidence
    confidence = dataclasses.replace(confidence, thresholds=(confidence.threshold,))
    parameters = dataclasses.replace(manifest.gate.parameters, confidence=confidence)
    gate = dataclasses.replace(manifest.gate, parameters=parameters)
    manifest = dataclasses.replace(manifest, gate=gate)
    cascade = to_cascade([(bundle / entry.file).read_bytes() for entry in manifest.submodels], manifest)
    (bundle / "cascade.onnx").write_bytes(cascade)
    entry = FileEntry(sha256=hashlib.sha256(cascade).hexdigest(), bytes=len(cascade))
    manifest = dataclasses.replace(manifest, files={"cascade.onnx": entry, **manifest.files})
    (bundle / "manifest.json").write_bytes(dump_manifest(manifest))
    pixels = np.load(DATA / "test.npz")["images"]
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    answer = eed_edge.load(bundle)(images)
    names = ("probs", "labels", "submodels_used", "abstained")
    np.savez_compressed(folder / "answers.npz", **{name: getattr(answer, name) for name in names})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
