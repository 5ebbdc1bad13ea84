"""Sharing the images out over the processes that torchrun started; alone, everything is one's own."""

import os
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

PATIENCE = timedelta(days=30)
"""How long a process that has finished waits for the slowest one."""
T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gathered(own: T) -> list[T] | None:
    """What every process has, in order of rank, for the first process; None for the others."""
    if world() == 1:
        return [own]
    started = not dist.is_initialized()
    if started:
        dist.init_process_group("gloo", timeout=PATIENCE)
    everyone: list[T] | None = [own] * world() if rank() == 0 else None
    dist.gather_object(own, everyone)
    if started:
        dist.destroy_process_group()
    return everyone
