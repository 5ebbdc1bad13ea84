"""Batches: every image once, and augmentation as a plain slow version does it."""

import pytest
import torch

from eed_edge.recipe import Data
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images

PLAIN = Data(flip=False, crop=0)


@pytest.fixture
def data() -> Images:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (20, 2, 5, 6), generator=generator, dtype=torch.uint8)
    return Images(images, torch.arange(20))


def one_epoch(
    data: Images, augment: Data, batch: int = 5, seed: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parts = list(batches.epoch(data, batch=batch, augment=augment, generator=generator))
    return torch.cat([images for images, *_ in parts]), torch.cat([labels for _, labels, _ in parts])


def test_an_epoch_has_every_image_once_with_its_label(data):
    images, labels = one_epoch(data, PLAIN)
    assert sorted(labels.tolist()) == list(range(20))
    assert torch.equal(images, data.images[labels].float() / 255)


def test_a_short_last_batch_is_left_out_unless_it_is_the_only_one(data):
    assert len(one_epoch(data, PLAIN, batch=8)[1]) == 16
    assert len(one_epoch(data, PLAIN, batch=64)[1]) == 20


def test_the_seed_alone_decides_an_epoch(data):
    augment = Data(flip=True, crop=2, cutout=2)
    assert torch.equal(one_epoch(data, augment)[0], one_epoch(data, augment)[0])
    assert not torch.equal(one_epoch(data, augment)[0], one_epoch(data, augment, seed=4)[0])


def test_a_mirrored_image_is_the_image_or_its_mirror(data):
    images, labels = one_epoch(data, Data(flip=True, crop=0))
    plain = data.images[labels].float() / 255
    unchanged = (images == plain).flatten(1).all(1)
    assert torch.equal(images[~unchanged], plain[~unchanged].flip(3))
    assert 0 < unchanged.sum() < 20


def test_soft_labels_come_with_their_image_or_with_its_mirror(data):
    soft = torch.stack([torch.arange(20.0), 100 + torch.arange(20.0)], dim=1)[:, :, None]  # (n, 2, k)
    generator = torch.Generator().manual_seed(0)
    augment = Data(flip=True, crop=0)
    stored = Images(data.images, data.labels, soft)
    parts = list(batches.epoch(stored, batch=5, augment=augment, generator=generator))
    images, labels, logits = (torch.cat(each) for each in zip(*parts, strict=True))
    mirrored = logits[:, 0] >= 100
    assert torch.equal(logits[:, 0] % 100, labels.float())
    assert torch.equal(images[mirrored], data.images[labels[mirrored]].flip(3).float() / 255)
    assert torch.equal(images[~mirrored], data.images[labels[~mirrored]].float() / 255)
    assert 0 < mirrored.sum() < 20


def test_a_shifted_image_is_a_window_of_the_image_with_black_around_it(data):
    images, labels = one_epoch(data, Data(flip=False, crop=1))
    padded = torch.nn.functional.pad(data.images[labels].float() / 255, (1, 1, 1, 1))
    windows = [padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
    windows_equal = torch.stack([(images == window).flatten(1).all(1) for window in windows])
    assert windows_equal.any(0).all()
    assert (windows_equal.sum(1) > 0).sum() > 3


def test_cutout_greys_one_square_at_most_of_its_side(data):
    images, labels = one_epoch(data, Data(flip=False, crop=0, cutout=3))
    hole = (images - 127 / 255).abs().amax(1) < 1e-6
    untouched = images == data.images[labels].float() / 255
    assert (untouched.all(1) | hole).all()
    assert hole.flatten(1).sum(1).max() == 9
    assert (hole.any(1).sum(1) <= 3).all()
