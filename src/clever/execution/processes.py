"""Several processes that train one network together, one a GPU, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from clever.errors import UserError
from clever.execution.device import held_device


@contextmanager
def joined_processes(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started for as long as the block lasts; nothing to join without torchrun.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1`` for a process of its own.

    Yields:
        The device of this process: of several on one machine, each gets a GPU of its own.

    Raises:
        UserError: the device is not there, or is one GPU for several processes.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and device.startswith("cuda:"):
        raise UserError(f"device {device} is one GPU, but several processes were started; give auto")
    with held_device(device) as chosen:
        if alone:
            yield chosen
            return
        if chosen.type == "cuda":
            dist.init_process_group("nccl", device_id=chosen)
        else:
            dist.init_process_group("gloo")
        try:
            yield chosen
        finally:
            dist.destroy_process_group()
