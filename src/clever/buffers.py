"""Holding what a forward pass moves besides parameters: BatchNorm's running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Whatever passes go through ``module`` inside, its buffers are afterwards what they were before."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    for buffer, value in kept:
        buffer.copy_(value)
