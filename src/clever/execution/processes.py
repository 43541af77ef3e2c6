"""Several processes that train one network together, one per GPU, as torchrun starts them."""

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
    """Join the processes that torchrun started until the block ends; without torchrun, do nothing.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1`` for a single process.

    Yields:
        The device of this process: each of several on one machine gets its own GPU.

    Raises:
        UserError: the device does not exist, or is one GPU for several processes.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and device.startswith("cuda:"):
        raise UserError(f"device {device} is one GPU, but several processes were started; choose auto")
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
