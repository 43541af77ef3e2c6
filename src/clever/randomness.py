"""Random numbers that depend only on their purpose, never on earlier draws.

Each use requests its own generator by name (``"augmentation"``, epoch, step ...). A killed run can therefore resume at
any step with exactly the same numbers, and no generator state is ever stored.
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
    """A separate generator for one purpose, on ``device``."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator with ``seed`` inside the block; its state is restored afterwards.

    The GPUs' generators are not seeded: parameters are initialised on the CPU, and touching those generators would
    start CUDA in processes that do not need it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
