"""Data set as one uint8 tensor on the device, and augmented batches of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eed_edge.recipe import Data
from eed_edge.seeds import process_seed
from eed_edge.train.data.datasets import Split


@dataclass(frozen=True)
class Images:
    """Images uint8 ``(n, c, h, w)`` and labels int64 ``(n,)``, both on one device.

    soft: a teacher's logits for each image, ``(n, 1, k)``, or for each image and its mirror, ``(n, 2, k)``.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Images":
        soft = None if self.soft is None else self.soft[index]
        return Images(self.images[index], self.labels[index], soft)


class Batch(NamedTuple):
    """Augmented float images ``(b, c, h, w)``, labels ``(b,)`` and, where stored, soft logits ``(b, k)``."""

    images: Tensor
    labels: Tensor
    soft: Tensor | None


def on_device(split: Split, device: torch.device) -> Images:
    """The split as tensors on the device: images uint8 ``(n, c, h, w)`` and labels int64."""
    return Images(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


def as_float(images: Tensor) -> Tensor:
    """uint8 ``(n, c, h, w)`` to float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def images_at_once(images: Tensor, most: int) -> int:
    """How many of ``images`` ``(n, c, h, w)`` go through a network together where all are to be judged.

    Args:
        most: the number for images of up to 32 x 32 pixels; of larger ones fewer, so that activations and
            their gradients take about the same memory.
    """
    height, width = images.shape[2:]
    return max(1, min(most, most * 32 * 32 // (height * width)))


def epoch(
    data: Images,
    *,
    batch: int,
    augment: Data,
    generator: torch.Generator,
    part: slice = slice(None),
    first: int = 0,
    noise: Tensor | None = None,
) -> Iterator[Batch]:
    """Iterate over all images in random order, augmented.

    The last short batch is left out unless it is the only one, so that batch norm always sees
    a full batch.

    Args:
        generator: seeded for the epoch; it draws the order first.
        part: the images of each batch to yield; processes that share the batches take different ones.
        first: number of the first batch; above 0 to resume an interrupted epoch.
        noise: state of ``generator`` after the batch before ``first``.
    """
    order = torch.randperm(len(data), generator=generator, device=generator.device)
    batches = max(1, len(data) // batch)
    if part.start:  # otherwise every process would draw the same noise
        generator.manual_seed(process_seed(generator.initial_seed(), part.start))
    if noise is not None:
        generator.set_state(noise)
    for i in range(first, batches):
        index = order[i * batch : (i + 1) * batch][part]
        images, mirrored = _augmented(data.images[index], augment, generator)
        soft = None if data.soft is None else data.soft[index, mirrored]
        yield Batch(as_float(images), data.labels[index], soft)


def in_order(data: Images, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over every image once, unaugmented: float images and labels."""
    for start in range(0, len(data), batch):
        part = data[slice(start, start + batch)]
        yield as_float(part.images), part.labels


def _augmented(images: Tensor, augment: Data, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the augmented images, and for each 1 if it was mirrored, else 0."""
    n, channels, height, width = images.shape
    device, pad = images.device, augment.crop

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n, 1), generator=generator, device=device)

    rows = torch.arange(height, device=device).expand(n, -1)
    columns = torch.arange(width, device=device).expand(n, -1)
    mirrored = integers(0, 2) if augment.flip else rows.new_zeros(n, 1)
    columns = torch.where(mirrored == 1, columns.flip(1), columns)
    if pad:
        images = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        rows, columns = rows + integers(0, 2 * pad + 1), columns + integers(0, 2 * pad + 1)
    image = torch.arange(n, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    images = images[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
    if augment.cutout:
        side = augment.cutout
        top, left = integers(0, height), integers(0, width)
        down = torch.arange(height, device=device) - top + side // 2  # (n, h)
        right = torch.arange(width, device=device) - left + side // 2  # (n, w)
        hole = ((down >= 0) & (down < side))[:, :, None] & ((right >= 0) & (right < side))[:, None, :]
        images = images.masked_fill(hole[:, None], 127)
    return images, mirrored[:, 0]
