"""Cluster unit vectors: k-means, cluster means, and the repair of clusters that are too small or empty.

The results are functions of the arguments alone, with the same bits in every call on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ELEMENTS = 2**24
"""Largest number of cosines that are in memory at a time."""


def cluster_means(vectors: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """The mean of each cluster, float32 [clusters, K]; zeros for an empty one.

    Args:
        vectors: float32 [N, K].
        labels: int64 [N] below ``clusters``.

    >>> import torch
    >>> cluster_means(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]), 2)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000]])
    """
    total = torch.zeros(clusters, vectors.shape[1], device=vectors.device).index_add_(0, labels, vectors)
    return total / torch.bincount(labels, minlength=clusters).clamp_min(1).unsqueeze(1)


def nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    """The centroid with the largest inner product, int64 [N]; a centroid of zeros is never chosen.

    Args:
        vectors: float32 [N, K].
        centroids: float32 [C, K], at least one of which is not zero.
    """
    unused = ~centroids.any(dim=1)
    parts = torch.split(vectors, max(1, _ELEMENTS // len(centroids)))
    return torch.cat([(part @ centroids.T).masked_fill(unused, -torch.inf).argmax(dim=1) for part in parts])


def spherical_k_means(vectors: Tensor, clusters: int, iterations: int) -> Tensor:
    """Assign each unit vector to a cluster, int64 [N], such that its cosine with the cluster's mean is large.

    Starts from randomly chosen vectors; the choice is always the same for the same N and ``clusters``.

    Args:
        vectors: float32 [N, K], of length 1.
        clusters: number of clusters, at most N; some may be empty in the end.
        iterations: number of times that the means are computed.
    """
    chosen = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:clusters]
    centroids = vectors[chosen.to(vectors.device)]
    for _ in range(iterations):
        centroids = F.normalize(cluster_means(vectors, nearest(vectors, centroids), clusters), dim=1)
    return nearest(vectors, centroids)


def mend(vectors: Tensor, labels: Tensor, clusters: int, least: int) -> Tensor:
    """Dissolve small clusters and divide the largest clusters to fill the empty ones; returns labels int64 [N].

    Each vector of a cluster with fewer than ``least`` vectors is moved to the nearest of the other clusters. Then the
    largest cluster is divided by 2-means and an empty cluster takes one of the halves, as long as there is an empty
    cluster and the largest one has at least twice ``least`` vectors.

    Args:
        vectors: float32 [N, K], of length 1.
        labels: int64 [N] below ``clusters``.
        least: smallest size of a cluster, at least 1.
    """
    counts = torch.bincount(labels, minlength=clusters)
    kept = torch.nonzero(counts >= least).flatten()
    if not len(kept):
        kept = counts.argmax().unsqueeze(0)
    is_kept = torch.zeros(clusters, dtype=torch.bool, device=labels.device).index_fill_(0, kept, True)
    homeless = torch.nonzero(~is_kept[labels]).flatten()
    labels = labels.clone()
    centroids = cluster_means(vectors, labels, clusters) * is_kept.unsqueeze(1)
    labels[homeless] = nearest(vectors[homeless], centroids) if len(homeless) else labels[homeless]
    for empty in torch.nonzero(~is_kept).flatten().tolist():
        counts = torch.bincount(labels, minlength=clusters)
        largest = int(counts.argmax())
        if int(counts[largest]) < 2 * least:
            break
        members = torch.nonzero(labels == largest).flatten()
        labels[members[_second_half(vectors[members])]] = empty
    return labels


def _second_half(vectors: Tensor, iterations: int = 20) -> Tensor:
    """bool [N]: True for the vectors in the second of two non-empty clusters."""
    middle = vectors.mean(dim=0)
    first = vectors[(vectors @ middle).argmin()]
    centroids = torch.stack([first, vectors[(vectors @ first).argmin()]])
    for _ in range(iterations):
        centroids = F.normalize(cluster_means(vectors, nearest(vectors, centroids), 2), dim=1)
    second = nearest(vectors, centroids) == 1
    if second.any() and not second.all():
        return second
    return torch.arange(len(vectors), device=vectors.device) % 2 == 1  # all vectors are equal
