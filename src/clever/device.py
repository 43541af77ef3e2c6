"""The device that a job runs on."""

from __future__ import annotations

import torch

from clever.errors import UserError


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
