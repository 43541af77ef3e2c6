"""k-means, means and repaired clusters against scikit-learn and plain loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from clever import clustering
from clever.clustering import cluster_means, mend, nearest, spherical_k_means


def groups(sizes: list[int], width: int = 6, spread: float = 0.1) -> tuple[Tensor, Tensor]:
    """Shuffled unit vectors around orthogonal directions, and the index of each vector's direction."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    truth = truth[torch.randperm(len(truth), generator=generator)]
    vectors = torch.eye(width)[truth] + spread * torch.randn(len(truth), width, generator=generator)
    return F.normalize(vectors, dim=1), truth


def test_means_equal_a_loop() -> None:
    vectors, truth = groups([5, 0, 3])
    found = cluster_means(vectors, truth, 4)
    for number in range(4):
        members = [row for row, label in zip(vectors.tolist(), truth.tolist(), strict=True) if label == number]
        expected = [sum(column) / len(members) for column in zip(*members, strict=True)] if members else [0.0] * 6
        assert found[number].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("elements", [2**24, 7])
def test_the_nearest_centroid_is_never_an_empty_one(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_ELEMENTS", elements)
    centroids = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    vectors = torch.tensor([[-1.0, -0.5], [1.0, 0.1], [0.6, 0.4]])
    # Cosines: -1 and -1, so the first; 1 and 0.2; 0.6 and 0.8.
    assert nearest(vectors, centroids).tolist() == [0, 0, 2]


def test_k_means_finds_separate_groups() -> None:
    vectors, truth = groups([40, 25, 30])
    found = spherical_k_means(vectors, 3, 20)
    # scikit-learn's index is 1 if and only if the partitions are equal up to a permutation of cluster labels.
    assert adjusted_rand_score(truth, found) == 1
    assert torch.equal(found, spherical_k_means(vectors, 3, 20))


def test_small_clusters_are_dissolved_and_large_ones_divided() -> None:
    vectors, truth = groups([12, 12, 12])
    labels = truth.clone()
    labels[truth == 1] = 0  # two groups in one cluster
    stray = torch.nonzero(truth == 2).flatten()[:2]
    labels[stray] = 3  # a small cluster, whose vectors belong to another one
    mended = mend(vectors, labels, 4, least=7)
    assert adjusted_rand_score(truth, mended) == 1
    assert set(mended.tolist()) == {0, 1, 2}
    assert set(mended[truth == 2].tolist()) == {2}
    # The stray vectors returned, the emptied cluster 1 got a group, and 12 images are split once more if 2 x least
    # allows.
    assert len(set(mend(vectors, labels, 4, least=6).tolist())) == 4


def test_clusters_that_are_all_small_become_one() -> None:
    vectors, truth = groups([3, 2])
    assert set(mend(vectors, truth, 2, least=4).tolist()) == {0}
    assert torch.equal(truth, groups([3, 2])[1])  # the argument is not modified


def test_equal_vectors_are_divided_in_halves() -> None:
    vectors = F.normalize(torch.ones(8, 3), dim=1)
    mended = mend(vectors, torch.zeros(8, dtype=torch.long), 2, least=4)
    assert torch.bincount(mended).tolist() == [4, 4]
