"""Hostile bundles as small functions: each makes one in a new folder from a good bundle.

``HOSTILE_BUNDLES`` names them all. Every one must be refused by ``eed-edge check``, in one line, soon and in
little memory, and by ``eed_edge.load`` too, but for those in ``SEEN_BY_CHECK``, whose models answer wrongly.
The good bundle must have ``cascade.onnx`` and ``dense.onnx``.
"""

import os
import shutil
from pathlib import Path

from tests.hostile.changed_bundle import Generator, seal, with_file
from tests.hostile.hostile_cascades import OTHER_MODELS
from tests.hostile.hostile_golden import GOLDEN
from tests.hostile.hostile_graphs import GRAPHS
from tests.hostile.hostile_manifests import MANIFESTS
from tests.hostile.onnx_files import HOSTILE


def sparse_file(good: Path, folder: Path) -> None:
    """A model of a terabyte, of which the disk holds nothing."""
    shutil.copytree(good, folder)
    with (folder / "submodel-0.onnx").open("r+b") as stream:
        stream.truncate(1 << 40)
    seal(folder)


def sparse_cascade(good: Path, folder: Path) -> None:
    shutil.copytree(good, folder)
    with (folder / "cascade.onnx").open("r+b") as stream:
        stream.truncate(1 << 40)
    seal(folder)


def a_fifo(good: Path, folder: Path) -> None:
    shutil.copytree(good, folder)
    (folder / "submodel-0.onnx").unlink()
    os.mkfifo(folder / "submodel-0.onnx")


FILES: dict[str, Generator] = {
    "file: a sparse model of a terabyte": sparse_file,
    "file: a sparse cascade of a terabyte": sparse_cascade,
    "file: a pipe": a_fifo,
    **{
        f"bytes: {name}": with_file("submodel-0.onnx", lambda *_, raw=case.raw: raw)
        for name, case in HOSTILE.items()
    },
}

SEEN_BY_CHECK: dict[str, Generator] = {**OTHER_MODELS, **GOLDEN}
HOSTILE_BUNDLES: dict[str, Generator] = {**GRAPHS, **MANIFESTS, **FILES, **SEEN_BY_CHECK}
