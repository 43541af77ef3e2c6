"""The measures against closed forms and plain float64 forms written from the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from clever.evaluation.quality.geometry import alignment, penalty_entropy, tolerance, uniformity
from clever.evaluation.quality.spectrum import alpha_req, lidar, rankme


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rankme_of_orthogonal_directions_of_equal_length_is_their_number() -> None:
    for rank in (1, 3, 8):
        columns = torch.linalg.qr(draw(50, 8)).Q[:, :rank]
        features = torch.cat([columns, torch.zeros(50, 8 - rank)], 1)
        assert float(rankme(features)) == pytest.approx(rank, rel=1e-4)
        assert float(rankme(100.0 * features)) == pytest.approx(rank, rel=1e-4)


def test_rankme_of_an_isotropic_gaussian_tends_to_the_width() -> None:
    """The singular values are nearly equal if there are many more images than features."""
    assert float(rankme(draw(40_000, 16))) == pytest.approx(16, rel=1e-3)
    # A common offset is one strong direction, because nothing is centred.
    assert float(rankme(draw(40_000, 16) + 100.0)) < 2


def test_rankme_equals_the_plain_form() -> None:
    for shape in ((30, 12), (12, 30)):
        features = draw(*shape) * torch.linspace(0.1, 3, shape[1], dtype=torch.float64)
        singular = np.linalg.svd(features.numpy(), compute_uv=False)
        shares = singular / singular.sum() + 1e-7
        assert float(rankme(features)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_alpha_req_is_the_exponent_of_a_power_law(alpha: float) -> None:
    count, width = 60, 20
    centred = draw(count, width) - draw(count, width).mean(0)
    columns = torch.linalg.qr(centred).Q
    deviations = torch.arange(1, width + 1, dtype=torch.float64) ** (-alpha / 2)
    features = columns * deviations @ torch.linalg.qr(draw(width, width, seed=1)).Q + 5.0
    assert float(alpha_req(features, 2, 15)) == pytest.approx(alpha, rel=1e-6)
    assert float(alpha_req(features, 2, 500)) == pytest.approx(alpha, rel=1e-6)
    dead = torch.cat([features, torch.zeros(count, 5)], 1)
    assert float(alpha_req(dead, 2, 500)) == pytest.approx(alpha, rel=1e-6)
    assert math.isnan(float(alpha_req(features, width, 500)))
    assert math.isnan(float(alpha_req(torch.ones(10, 4), 1, 4)))


@pytest.mark.parametrize("shape", [(40, 5, 8), (12, 4, 30)])
def test_lidar_equals_the_plain_form(shape: tuple[int, int, int]) -> None:
    views = draw(shape[0], 1, shape[2]) * 2.0 + draw(*shape, seed=1)
    numbers = views.numpy()
    means = numbers.mean(1)
    between = np.cov(means.T)
    within = sum(np.cov(sample.T) for sample in numbers) / shape[0] + 1e-4 * np.eye(shape[2])
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    spectrum = np.linalg.eigvalsh(root @ between @ root).clip(0)
    shares = spectrum / spectrum.sum() + 1e-8
    assert float(lidar(views)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-5)


def test_lidar_counts_the_directions_that_distinguish_images() -> None:
    views = torch.cat([10.0 * draw(3000, 1, 3).expand(3000, 4, 3), torch.zeros(3000, 4, 5)], 2)
    assert float(lidar(views + 0.1 * draw(3000, 4, 8, seed=1))) == pytest.approx(3, abs=0.05)


def test_geometry_equals_double_loops() -> None:
    features, labels = draw(9, 4), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    units = (features / features.norm(dim=1, keepdim=True)).numpy()
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    cosines = {(i, j): float(units[i] @ units[j]) for i, j in pairs}
    squared = [float(((units[i] - units[j]) ** 2).sum()) for i, j in pairs]
    assert float(uniformity(features)) == pytest.approx(math.log(np.mean(np.exp(-2 * np.array(squared)))))
    same = [cosines[pair] for pair in pairs if labels[pair[0]] == labels[pair[1]]]
    assert float(tolerance(features, labels)) == pytest.approx(np.mean(same))
    assert math.isnan(float(tolerance(features, torch.arange(9))))
    entropies = []
    for i in range(9):
        penalties = np.array([math.exp(cosines[i, j] / 0.3) for j in range(9) if j != i])
        shares = penalties / penalties.sum()
        entropies.append(-(shares * np.log(shares)).sum())
    assert float(penalty_entropy(features, 0.3)) == pytest.approx(np.mean(entropies) / math.log(8))
    # The entropy rises with the temperature (Wang and Liu 2021) and ends at equal penalties.
    rising = [float(penalty_entropy(features, temperature)) for temperature in (0.05, 0.3, 1.0, 1e4)]
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(1.0)


def test_alignment_is_the_mean_over_pairs_of_views() -> None:
    views = draw(5, 3, 4)
    units = torch.nn.functional.normalize(views, dim=2)
    squared = [(units[:, i] - units[:, j]).square().sum(1).mean() for i in range(3) for j in range(3) if i != j]
    assert float(alignment(views)) == pytest.approx(float(torch.stack(squared).mean()))
    assert float(alignment(views[:, :1].expand(5, 3, 4) * torch.rand(5, 3, 1))) == pytest.approx(0.0, abs=1e-12)


def test_uniformity_of_the_whole_sphere_has_a_closed_form() -> None:
    """In three dimensions, d^2 is uniform on [0, 4], so the mean of exp(-2 d^2) is (1 - e^-8) / 8."""
    assert float(uniformity(draw(3000, 3))) == pytest.approx(math.log((1 - math.exp(-8)) / 8), abs=0.02)
