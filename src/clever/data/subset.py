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
    """Rows of at most ``limit`` images, chosen from the classes in turn, in their original order. No class gets two
    images more than another that still has images left. The choice depends on (seed, split) alone, and a larger limit
    keeps all images that a smaller one keeps.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    ranks = ranks_within_class(labels, seed, "subset", split)
    return np.sort(np.lexsort((labels, ranks))[:limit])


def whole_groups(
    labels: NDArray[np.int64], groups: NDArray[np.int64], limit: int | None, seed: int, split: str
) -> tuple[NDArray[np.int64], int]:
    """Rows of whole groups with at most ``limit`` images, chosen from the classes in turn, in their original order.

    The first group that would exceed the limit and all later ones are excluded, so that a larger limit keeps all groups
    that a smaller one keeps. Images of a group share a label. Also returns the smallest limit that keeps every class.
    """
    _, first, counts = np.unique(groups, return_index=True, return_counts=True)
    group_labels = labels[first]
    order = np.lexsort((group_labels, ranks_within_class(group_labels, seed, "subset of groups", split)))
    images = np.cumsum(counts[order])
    least = int(images[len(np.unique(group_labels)) - 1])
    if limit is None or limit >= len(labels):
        return np.arange(len(labels)), least
    kept = groups[first[order[images <= limit]]]
    return np.flatnonzero(np.isin(groups, kept)), least
