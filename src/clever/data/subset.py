"""Smaller data sets for trial runs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from clever.randomness import make_generator


def ranks_within_class(labels: NDArray[np.int64], seed: int, *purpose: str | int) -> NDArray[np.int64]:
    """Number the images of each class 0, 1, 2 ... in a seeded random order: int64 [N]."""
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        generator = make_generator(seed, *purpose, int(label))
        ranks[rows] = torch.randperm(len(rows), generator=generator).numpy()
    return ranks


def balanced_subset(labels: NDArray[np.int64], limit: int | None, seed: int, split: str) -> NDArray[np.int64]:
    """Rows of at most ``limit`` images, one class in turn after the other, in their original order.

    No class gets two images more than another that still has some. The choice depends on (seed, split) alone, and a
    larger limit keeps all that a smaller one keeps.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    ranks = ranks_within_class(labels, seed, "subset", split)
    return np.sort(np.lexsort((labels, ranks))[:limit])
