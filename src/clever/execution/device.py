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
        UserError: the name is unknown, or a GPU was asked for that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is unknown; give auto, cpu, cuda or cuda:<number>") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: this machine shows {torch.cuda.device_count()} GPUs; give auto or cpu")
    return device


@contextmanager
def held_device(name: str) -> Iterator[torch.device]:
    """The device of this process for as long as the block lasts.

    ``auto`` takes a GPU that no other job of this user holds, and waits while there is none; without a GPU it is the
    CPU, in one line on standard error. Where a scheduler has assigned the GPUs nothing is leased. Any other name takes
    that device whoever uses it. Of several processes that torchrun started on a machine, each gets a GPU of its own.

    Raises:
        UserError: as ``choose_device``; or fewer GPUs became free than torchrun started processes.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if name == "auto" and not torch.cuda.is_available():
        if os.environ.get("RANK", "0") == "0":
            print("no GPU here: this job runs on the CPU", file=sys.stderr)
        yield choose_device("cpu")
    elif name == "auto" and not assigned(torch.cuda.device_count()):
        # Runs of several processes that each hold some GPUs and wait for more would wait for each other.
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
    """A name for each visible GPU that does not depend on which others are visible."""
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
