"""The processes that `torchrun` starts: joining, sums, and who writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor
from torch import distributed as dist

from kinemask.training.settings import Device


@dataclass(frozen=True)
class World:
    """This process's place: rank of size, on a device."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls, device: str) -> World:
        """One process."""
        return cls(0, 1, torch.device(device))

    @property
    def main(self) -> bool:
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Sum over processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def min(self, value: Tensor) -> Tensor:
        """Smallest over processes."""
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return value

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextmanager
def world(device: str) -> Iterator[World]:
    """Join the process group if `torchrun` started this process; leave it at the end."""
    device = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield World.alone(device)
        return
    local = int(os.environ["LOCAL_RANK"])
    here = torch.device(device, local) if device == "cuda" else torch.device(device)
    if device == "cuda":
        torch.cuda.set_device(here)
    if dist.is_initialized():  # the caller's group, which stays the caller's
        yield World(dist.get_rank(), size, here)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, here)
    finally:
        dist.destroy_process_group()


def choose_device(device: str) -> str:
    """`auto` is CUDA where there is one; raises ValueError for CUDA where there is none, and for unknown names."""
    if device not in get_args(Device):
        raise ValueError(f"unknown device {device!r}; known: {', '.join(get_args(Device))}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but no CUDA device is usable; take cpu")
    return device
