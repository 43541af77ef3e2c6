"""TokenCut against scipy's generalised eigenproblem and a graph with a known cut; LOST by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor

from clever.evaluation.saliency.discovery import binary_affinity, component_of, lost, second_eigenvector, token_cut


def planted(object_: NDArray[np.bool_], noise: float = 0.1, seed: int = 0, width: int = 8) -> Tensor:
    """Noisy features [rows, columns, width] with two directions: one inside the object, the other outside."""
    generator = torch.Generator().manual_seed(seed)
    features = noise * torch.randn(*object_.shape, width, generator=generator)
    features[..., 0] += torch.from_numpy(np.where(object_, 1.0, 0.0))
    features[..., 1] += torch.from_numpy(np.where(object_, 0.0, 1.0))
    return features


def square(rows: int = 9, columns: int = 12) -> NDArray[np.bool_]:
    mask = np.zeros((rows, columns), dtype=bool)
    mask[2:5, 3:8] = True
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_the_eigenvector_equals_scipy_s_of_the_generalised_problem(seed: int) -> None:
    features = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(seed))
    affinity = binary_affinity(features, 0.2)
    degrees = np.diag(affinity.sum(axis=1))
    values, vectors = eigh(degrees - affinity, degrees)
    ours, reference = second_eigenvector(affinity), vectors[:, 1]
    assert values[1] < values[2] - 1e-6  # otherwise the vector is not unique
    ours, reference = ours / np.linalg.norm(ours), reference / np.linalg.norm(reference)
    np.testing.assert_allclose(ours * np.sign(ours @ reference), reference, atol=1e-8)


def test_the_graph_is_binary_and_strict() -> None:
    features = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]])
    expected = [[1, 1, 1e-5], [1, 1, 1e-5], [1e-5, 1e-5, 1]]
    np.testing.assert_array_equal(binary_affinity(features, 0.2), expected)
    assert binary_affinity(features, 1.0)[0, 2] == 1e-5


def test_a_planted_object_is_cut_out() -> None:
    """The smaller of the two groups has the larger entries, so it contains the seed."""
    assert np.array_equal(token_cut(planted(square())), square())


def test_only_the_part_with_the_seed_is_kept() -> None:
    two = square()
    two[7, 10:12] = True
    found = token_cut(planted(two, noise=0.0))
    assert not (found & ~two).any()
    assert np.array_equal(found, square()) or np.array_equal(found, two & ~square())


def test_token_cut_does_not_depend_on_the_scale_of_a_patch() -> None:
    features = planted(square())
    scales = 0.5 + torch.rand(9, 12, 1, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(token_cut(features * scales), token_cut(features))


def test_lost_finds_the_patches_that_resemble_few_others() -> None:
    object_ = square()
    features = torch.where(torch.from_numpy(object_)[..., None], torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0]))
    assert np.array_equal(lost(features), object_)


def test_lost_expands_its_seed_among_the_lowest_degrees_only() -> None:
    """Four patches, given by their inner products. Their degrees are 1, 2, 2, 1, so the seed is p0, and the candidates
    in order are p0, p3, p1, p2.

    With two candidates, none joins, and the mask is where p0's own row is positive. With three, p1 joins: the rows sum
    to (5, 5, 1, -2), so p2 belongs to the mask.
    """
    products = np.array([[4.0, 1, -1, -1], [1, 4, 2, -1], [-1, 2, 4, 1], [-1, -1, 1, 4]])
    values, vectors = np.linalg.eigh(products)
    assert values.min() > 0
    features = torch.from_numpy(vectors * np.sqrt(values))[None]
    assert lost(features, candidates=2).tolist() == [[True, True, False, False]]
    assert lost(features, candidates=3).tolist() == [[True, True, True, False]]


def test_components_are_not_connected_at_corners() -> None:
    mask = np.array([[1, 0], [0, 1]], dtype=bool)
    assert component_of(mask, 3).tolist() == [[False, False], [False, True]]
