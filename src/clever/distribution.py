"""The few collective operations that a loss needs; without a process group each is the identity."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether this process is one of several (torchrun)."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def process_rank() -> int:
    """This process's number, 0 when it is the only one."""
    return dist.get_rank() if is_distributed() else 0


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def average_over_processes(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes, without gradient; every process must call it."""
    if not is_distributed():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
