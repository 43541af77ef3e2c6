"""Constants of the code as tensors, copied to a device once."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def constant(values: Numbers, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A vector or matrix of these numbers. Every call returns the same tensor: do not write to it.

    ``torch.tensor(values, device=device)`` makes the host wait for the GPU's queue, so a training step must not call
    it.
    """
    return torch.tensor(values, device=device, dtype=dtype)
