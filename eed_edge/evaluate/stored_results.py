"""Files of a run that an evaluation leaves: report, verdicts, images for ``bench``."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge import report
from eed_edge.atomic_files import write_atomic
from eed_edge.evaluate.per_image import PerImage, read_per_image, write_per_image
from eed_edge.provenance import manifest_digest
from eed_edge.report.judged_file import append_judged
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.train.data.batches import as_float, images_at_once
from eed_edge.train.data.splits import Split

BATCH = 1000
"""Images of up to 32 x 32 pixels that the bundle answers together."""
PARTS = (
    "suite",
    "accuracy",
    "paired",
    "attacks",
    "adaptive",
    "slowdown",
    "replay",
    "shift",
    "curves",
    "prefixes",
    "submodels_used",
    "rd",
    "notes",
)
"""Parts of the report that are valid only for one bundle, one set of baselines and one set of images."""


def store_verdicts(path: Path, new: PerImage, *, adds: bool) -> None:
    """Write the verdicts; a part of a suite keeps those of the other attacks on the same files."""
    old = read_per_image(path) if adds and path.exists() else None
    if old is not None and (old.evaluated, old.test_images) == (new.evaluated, new.test_images):
        new = replace(new, attacks={**old.attacks, **new.attacks})
    write_per_image(path, new)


def note_judged(path: Path, bundle: Path, evaluated: str, figures: Mapping[str, Any], command: str) -> None:
    """Append an evaluation on test images to the run's record of them."""
    rows = figures["accuracy"]
    record = {
        "bundle": manifest_digest(bundle),
        "evaluated": evaluated,
        "commit": figures["commit"],
        "command": command,
        "dynamic": {attack: row["dynamic"] for attack, row in rows.items()},
        "images": {attack: row["images"] for attack, row in rows.items()},
    }
    append_judged(path, record)


def save_timed(path: Path, timed: Split, deployed: Cascade, examples: Mapping[str, NDArray[Any]]) -> None:
    """Write the images for ``bench``, the sub-models used on each, and the example images."""
    images = torch.from_numpy(timed.images)
    batches = torch.split(images, images_at_once(images, BATCH))
    used = [deployed(as_float(batch).contiguous().numpy()).submodels_used for batch in batches]
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        images=timed.images.transpose(0, 2, 3, 1),
        labels=timed.labels,
        submodels_used=np.concatenate(used),
        **examples,  # type: ignore[arg-type]
    )
    write_atomic(path, stream.getvalue())


def merge_results(
    path: Path, figures: dict[str, Any], *, commands: dict[str, str], adds: bool
) -> dict[str, Any]:
    """Merge into the run's report in place of earlier attack results.

    Args:
        commands: command line by the rows it produced.
        adds: the figures are a part of a suite and keep earlier results on the same files.
    """
    old = report.read_report(path) if path.exists() else {}
    earlier = old.get("commands", {})
    earlier_commands = {name: text for name, text in earlier.items() if adds or name.split()[0] != "attack"}
    if adds and "suite" in old:  # counted on the images of the whole suite
        del figures["submodels_used"]
    figures["commands"] = {**earlier_commands, **commands}
    return report.merge_report(path, figures, without=["commands", *(() if adds else PARTS)])
