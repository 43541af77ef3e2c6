"""The device that a job runs on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clever.errors import UserError
from clever.execution.leases import assigned, leased

_SECONDS_FOR_SEVERAL = 60.0


def choose_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means on this machine.

    Raises:
        UserError: the name is unknown, or the requested GPU does not exist.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is unknown; choose auto, cpu, cuda or cuda:<number>") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(f"device {name!r}: this machine has {count} visible GPUs; choose auto or cpu")
    return device


@contextmanager
def held_device(name: str) -> Iterator[torch.device]:
    """Hold the device of this process until the block ends.

    ``auto`` leases a GPU that no other job of this user holds, and waits while all are held. Without a GPU it uses the
    CPU and says so in one line on standard error. Nothing is leased if a scheduler has assigned the GPUs. Any other
    name uses that device, even if other jobs use it. Each process that torchrun started on a machine gets its own GPU.

    Raises:
        UserError: see :func:`choose_device`; or fewer GPUs became free than processes were started by torchrun.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if name == "auto" and not torch.cuda.is_available():
        if os.environ.get("RANK", "0") == "0":
            print("no GPU found: this job runs on the CPU", file=sys.stderr)
        yield choose_device("cpu")
    elif name == "auto" and not assigned(torch.cuda.device_count()):
        # Without a time limit, runs of several processes that each hold some GPUs could wait for each other for ever.
        with leased(_identities(), patience=_SECONDS_FOR_SEVERAL if several else None) as index:
            yield _selected(index)
    elif name in ("auto", "cuda") and several and torch.cuda.is_available():
        yield _selected(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        yield choose_device(name)


def _selected(index: int) -> torch.device:
    device = choose_device(f"cuda:{index}")
    torch.cuda.set_device(device)
    return device


def _identities() -> list[str]:
    """A name for each visible GPU, independent of which other GPUs are visible."""
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
