"""TensorBoard learning curves, one per stage or candidate."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eed_edge.errors import DeviceError, how_to_install
from eed_edge.train.system.epoch_log import TrainingCallback

CURVES = ("loss", "clean", "attacked", "lr", "images_s", "seconds")


@contextmanager
def curves(folder: Path | None) -> Iterator[tuple[TrainingCallback, ...]]:
    """A callback that writes epoch records below ``folder``; without a folder there is none.

    Raises:
        DeviceError: the package tensorboard is not installed.
    """
    if folder is None:
        yield ()
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DeviceError(
            f"--tensorboard needs the package tensorboard; {how_to_install('tensorboard')}"
        ) from error
    with SummaryWriter(str(folder)) as writer:

        def record(row: dict[str, Any]) -> None:
            if "batch" in row:
                return
            name = "-".join(filter(None, (row["stage"], row.get("part"))))
            for curve in CURVES:
                if curve in row:
                    writer.add_scalar(f"{curve}/{name}", row[curve], row["epoch"] + 1)

        yield (record,)
