"""Random numbers that depend on what they are for, never on what was drawn before.

Each use asks for its own generator by name (``"augmentation"``, epoch, step ...). A killed run can therefore take
up any step again with the very numbers it would have had, and no generator state is ever stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Hash a study's seed and a purpose into a seed in [0, 2**63).

    ``derive_seed(0, "augmentation", 3)`` is the same on every machine and in every version of Python.
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose, on ``device``."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let code that draws from torch's global generator of the CPU draw from ``seed``; the generator is put back.

    Only the CPU's: parameters are born there, and touching those of the GPUs would start CUDA in processes that never
    need it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
