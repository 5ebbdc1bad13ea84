"""The dense base as an ONNX file of the run: ``bench`` compares with it, the device does not need it."""

from pathlib import Path

import torch

from eed_edge.atomic_files import write_atomic
from eed_edge.export.network_graph import to_onnx
from eed_edge.manifest import DENSE_FILE
from eed_edge.train.data.batches import as_float
from eed_edge.train.run_folder import Run


def keep_dense(run: Run, bundle: Path) -> None:
    """Write ``dense.onnx`` into the run folder, where it is not there yet; from ``bundle`` if that has it.

    Raises:
        ExportError: torch cannot export the base.
        StorageError: the disk is full.
    """
    path = run.path / DENSE_FILE
    if path.exists():
        return
    made = bundle / DENSE_FILE
    if made.exists():
        write_atomic(path, made.read_bytes())
        return
    image = as_float(torch.from_numpy(run.calib().images[:1].copy()))
    write_atomic(path, to_onnx(run.base(), image))
