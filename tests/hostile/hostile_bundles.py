"""Hostile bundles as small functions: each makes one in a new folder from a good bundle.

``HOSTILE_BUNDLES`` names them all. Every one must be refused by ``eed-edge check``, in one line, soon and in
little memory, and by ``eed_edge.load`` too, but for those in ``SEEN_BY_CHECK``, whose models answer wrongly.
The good bundle must have ``cascade.onnx`` and ``dense.onnx``.
"""

import dataclasses
import os
import shutil
from pathlib import Path

import onnx

from eed_edge import manifest as contract
from tests.hostile.changed_bundle import Generator, read, seal, with_file
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


def large_before_bad(good: Path, folder: Path) -> None:
    """A sound model of 60 MB, which is to be copied only when the next, a bad one, has been judged."""
    shutil.copytree(good, folder)
    model = onnx.load(folder / "submodel-0.onnx")
    model.graph.initializer.add(name="unused", dims=[60 * 2**20], data_type=2, raw_data=bytes(60 * 2**20))
    onnx.save(model, folder / "submodel-0.onnx")
    (folder / "submodel-1.onnx").write_bytes(HOSTILE["second graph"].raw)
    seal(folder)


def many_submodels(good: Path, folder: Path) -> None:
    """62 sub-models with 36,000 fields each."""
    shutil.copytree(good, folder)
    model = onnx.load(folder / "submodel-0.onnx")
    model.metadata_props.extend([onnx.StringStringEntryProto(key="", value="")] * 12_000)
    manifest = read(folder)
    entries = []
    for i in range(62):
        onnx.save(model, folder / f"submodel-{i}.onnx")
        entries.append(dataclasses.replace(manifest.submodels[0], file=f"submodel-{i}.onnx"))
    manifest = dataclasses.replace(manifest, submodels=tuple(entries))
    (folder / "manifest.json").write_bytes(contract.dump_manifest(manifest))
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
    "file: a large model before a bad one": large_before_bad,
    "file: 62 sub-models of many fields": many_submodels,
    "file: a sparse cascade of a terabyte": sparse_cascade,
    "file: a pipe": a_fifo,
    **{
        f"bytes: {name}": with_file("submodel-0.onnx", lambda *_, raw=case.raw: raw)
        for name, case in HOSTILE.items()
    },
}

SEEN_BY_CHECK: dict[str, Generator] = {**OTHER_MODELS, **GOLDEN}
HOSTILE_BUNDLES: dict[str, Generator] = {**GRAPHS, **MANIFESTS, **FILES, **SEEN_BY_CHECK}
