"""Weighted nearest-neighbour voting (Wu et al. 2018; DINO's eval_knn.py), for probes of any kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_ELEMENTS = 2**25
"""Number of similarities in memory at a time (128 MB of float32)."""


def vote(
    train: Tensor, train_labels: Tensor, queries: Tensor, neighbours: Sequence[int], temperature: float, classes: int
) -> list[Tensor]:
    """Predict the class of each query by its neighbours' votes, int64 [M], for each number of neighbours.

    Neighbours are found by cosine similarity, and each votes for its class with weight exp(cosine / temperature).
    ``train`` [N, width] and ``queries`` [M, width] are normalised here; ``train_labels`` is int64 [N] below
    ``classes``. Numbers above N are reduced to N. If several classes have equal votes, the lowest wins.
    """
    train, queries = F.normalize(train, dim=1), F.normalize(queries, dim=1)
    most = min(max(neighbours), len(train))
    predictions: list[list[Tensor]] = [[] for _ in neighbours]
    for chunk in torch.split(queries, max(1, _CHUNK_ELEMENTS // len(train))):
        similarities, nearest = (chunk @ train.t()).topk(most, dim=1)
        # The common factor exp(-largest / temperature) does not change the winner and avoids overflow at small
        # temperatures.
        weights = ((similarities - similarities[:, :1]).double() / temperature).exp()
        # Integers, because a GPU adds floats in no fixed order.
        whole = (weights * 2.0**40).round().long()
        labels = train_labels[nearest]
        for found, k in zip(predictions, neighbours, strict=True):
            votes = whole.new_zeros(len(chunk), classes).scatter_add_(1, labels[:, :k], whole[:, :k])
            found.append(votes.argmax(dim=1))
    return [torch.cat(found) for found in predictions]
