"""Soft labels that are computed once: the base's answer to every training image and to its mirror."""

import io
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eed_edge.atomic_files import write_atomic
from eed_edge.files.npz_archive import read_arrays
from eed_edge.provenance import weights_digest
from eed_edge.recipe import Distilled, Recipe, Training
from eed_edge.train.data.batches import Images, as_float, images_at_once
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.distributed import Processes

log = logging.getLogger(__name__)

VIEWS = 2
"""The image and its mirror."""
SOFT_LABELS_FILE = "soft_labels.npz"
BATCH = 500
"""Images of up to 32 x 32 pixels that the base answers together."""


def add_soft_labels(
    images: Images, base: nn.Module, cfg: Distilled, *, recipe: Recipe, run: Path, processes: Processes
) -> Images:
    """The training images with soft labels, if the stage ``cfg`` wants them once; else the images alone.

    The first stage that needs them computes them, shared out over the processes, and leaves them in the run
    folder.

    Args:
        base: the run's base, on the device of the images; it ends in evaluation mode.
        run: the run folder.
    """
    if not (cfg.distill and cfg.soft_labels == "once"):
        return images
    path, digest = run / SOFT_LABELS_FILE, weights_digest([run / "base.safetensors"])
    stored = processes.all_gather(_stored(path, digest, len(images)) if processes.is_main else None)[0]
    if stored is None:
        if processes.is_main:
            what = "training images and its mirror" if recipe.data.flip else "training images"
            log.info("soft labels: the base answers each of %d %s once", len(images), what)
        part = answers(base, images.images[processes.shard], mirror=recipe.data.flip).cpu().numpy()
        stored = np.zeros((len(images), *part.shape[1:]), np.float32)
        for rank, each in enumerate(processes.all_gather(part)):
            stored[rank :: processes.size] = each
        if processes.is_main:
            _store(path, digest, stored)
    return Images(images.images, images.labels, torch.from_numpy(stored).to(images.images.device))


def wanted_once(recipe: Recipe) -> bool:
    """Whether a stage learns from stored soft labels; pool and joint stage then use the same."""
    return any(stage.distill and stage.soft_labels == "once" for stage in (recipe.pool, recipe.joint))


def teacher_passes(cfg: Training) -> int:
    """Forward passes of the base per training image that a training needs for its soft labels."""
    if not (isinstance(cfg, Distilled) and cfg.distill):
        return 0
    return VIEWS if cfg.soft_labels == "once" else cfg.epochs


@torch.no_grad()
def answers(base: nn.Module, images: Tensor, *, mirror: bool) -> Tensor:
    """The base's logits for uint8 images ``(n, c, h, w)`` and, with ``mirror``, for their mirrors.

    Returns:
        ``(n, 1, k)`` or ``(n, 2, k)``.
    """
    base.eval()
    rows = []
    for batch in torch.split(images, images_at_once(images, BATCH)):
        views = [batch, batch.flip(3)] if mirror else [batch]
        with mixed_precision(images.device):
            rows.append(torch.stack([base(as_float(view)).float() for view in views], dim=1))
    return torch.cat(rows)


def _stored(path: Path, digest: str, count: int) -> np.ndarray | None:
    """The stored soft labels, or None if there are none of this base and these images, or not readable."""
    try:
        arrays = read_arrays(path, ["base", "logits"])
    except Exception:  # an archive can be wrong in many ways, and is then made anew
        return None
    fits = arrays["base"].tobytes().decode("ascii", "replace") == digest and len(arrays["logits"]) == count
    return arrays["logits"] if fits else None


def _store(path: Path, digest: str, logits: np.ndarray) -> None:
    stream = io.BytesIO()
    np.savez(stream, base=np.frombuffer(digest.encode(), np.uint8), logits=logits)
    write_atomic(path, stream.getvalue())
