"""The measures against scikit-learn, plain float64 forms and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge
from torch import Tensor

from clever.evaluation.equivariance.distances import distance_between_images, mean_distance
from clever.evaluation.equivariance.lie import GENERATORS, squared_derivative
from clever.evaluation.equivariance.linear_maps import RidgeMaps, relative_error
from clever.evaluation.equivariance.operations import FIXED, OPERATIONS, Draws
from clever.evaluation.equivariance.similarity import linear_cka, mean_canonical_correlation
from clever.evaluation.equivariance.warps import full_turn, inscribed

SIDE = 16


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_images(count: int = 4, side: int = 48, seed: int = 0) -> Tensor:
    """Sums of waves with few periods, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    ramp = (torch.arange(side) + 0.5) / side - 0.5
    found = torch.full((count, 3, side, side), 0.5)
    for _ in range(5):
        fx, fy, phase = (torch.rand(count, 3, 1, 1, generator=generator) * scale for scale in (3.0, 3.0, 6.28))
        found += 0.09 * (2 * math.pi * (fx * ramp + fy * ramp.view(-1, 1)) + phase).sin()
    return found


def test_distances_equal_a_double_loop() -> None:
    one, other = draw(7, 5), draw(7, 5, seed=1)
    cosine = torch.nn.functional.cosine_similarity
    assert float(mean_distance(one, other)) == pytest.approx(float((1 - cosine(one, other)).mean()))
    pairs = [1 - float(cosine(one[i], one[j], dim=0)) for i in range(7) for j in range(7) if i != j]
    assert float(distance_between_images(one)) == pytest.approx(np.mean(pairs))
    one[0], other[0] = 0.0, 0.0
    other[1] = 0.0
    by_hand = [0.0, 1.0, *(1 - cosine(one[2:], other[2:])).tolist()]
    assert float(mean_distance(one, other)) == pytest.approx(np.mean(by_hand))


def test_quarter_turns_of_the_inscribed_square_are_exact() -> None:
    images = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    upright = inscribed(images, 0.0)
    for quarters in range(1, 5):
        turned = inscribed(images, 90.0 * quarters)
        torch.testing.assert_close(turned, torch.rot90(upright, quarters, (2, 3)), atol=1e-5, rtol=0)


def test_the_inscribed_square_shows_no_corner_at_any_angle() -> None:
    side = 48
    ramp = (torch.arange(side) + 0.5) / side * 2 - 1
    outside = (ramp.square() + ramp.view(-1, 1).square()).sqrt() > 1 + 4 / side
    images = torch.full((1, 3, side, side), 0.5)
    images[:, :, outside] = 1.0
    assert float(outside.float().mean()) > 0.1
    for degrees in range(0, 361, 15):
        # The white corner is at a distance of 0.5.
        assert float((inscribed(images, float(degrees)) - 0.5).abs().max()) < 1e-3


def test_a_full_turn_changes_smooth_images_by_interpolation_alone() -> None:
    images = smooth_images()
    upright = inscribed(images, 0.0)
    for degrees in (15.0, 45.0, 75.0):
        floor = (full_turn(images, degrees) - upright).abs().mean()
        assert 0.0 < float(floor) < 0.05 * float((inscribed(images, degrees) - upright).abs().mean())
    noise = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert float((full_turn(noise, 45.0) - inscribed(noise, 0.0)).abs().mean()) > 0.05
    torch.testing.assert_close(full_turn(noise, 90.0), inscribed(noise, 0.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(60, 8), (20, 30)])
def test_ridge_maps_equal_scikit_learn_at_the_penalty_of_generalised_cross_validation(shape: tuple[int, int]) -> None:
    features, new = draw(*shape) + 1.0, draw(11, shape[1], seed=1)
    targets = features @ draw(shape[1], 3, seed=2) + 2.0 * draw(shape[0], 3, seed=3)
    penalties = [1e-3, 0.1, 1.0, 10.0]
    centred = features - features.mean(0)
    unit = float(centred.square().sum() / shape[1])
    scores, fits = [], []
    for penalty in penalties:
        gram = centred.t() @ centred + penalty * unit * torch.eye(shape[1])
        hat = centred @ torch.linalg.inv(gram) @ centred.t()
        residual = (targets - targets.mean(0)) - hat @ (targets - targets.mean(0))
        scores.append(float(residual.square().sum() / (shape[0] - 1 - hat.trace()) ** 2))
        fits.append(Ridge(alpha=penalty * unit).fit(features.numpy(), targets.numpy()).predict(new.numpy()))
    best = int(np.argmin(scores))
    assert best not in (0, len(penalties) - 1)
    np.testing.assert_allclose(RidgeMaps(features, penalties).predict(targets, new).numpy(), fits[best], atol=1e-8)


def test_constant_features_predict_the_mean() -> None:
    targets = draw(20, 2)
    predictions = RidgeMaps(torch.ones(20, 3), [0.1]).predict(targets, torch.ones(4, 3))
    torch.testing.assert_close(predictions, targets.mean(0).expand(4, 2))
    assert float(relative_error(targets.mean(0).expand(20, 2), targets, targets.mean(0))) == pytest.approx(1.0)


def test_canonical_correlation_equals_scikit_learn() -> None:
    shared = draw(300, 2)
    one = torch.cat([shared + 0.5 * draw(300, 2, seed=1), draw(300, 1, seed=2)], 1)
    other = torch.cat([draw(300, 2, seed=3), shared @ draw(2, 2, seed=4) + draw(300, 2, seed=5)], 1)
    first, second = CCA(n_components=3, max_iter=10_000, tol=1e-12).fit_transform(one.numpy(), other.numpy())
    expected = np.mean([np.corrcoef(first[:, k], second[:, k])[0, 1] for k in range(3)])
    found = mean_canonical_correlation(one, other, explained=1.0)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    # Invertible maps of either group do not change it.
    moved = mean_canonical_correlation(one @ draw(3, 3, seed=6) + 1.0, other @ draw(4, 4, seed=7), explained=1.0)
    assert float(moved) == pytest.approx(float(found), abs=1e-9)


def test_canonical_correlation_keeps_the_components_with_most_variance() -> None:
    """A column with tiny variance that both groups share counts only if all variance is kept."""
    tiny = 1e-3 * draw(500, 1)
    one, other = torch.cat([draw(500, 1, seed=1), tiny], 1), torch.cat([draw(500, 1, seed=2), tiny], 1)
    assert float(mean_canonical_correlation(one, other, explained=0.99)) < 0.15
    assert float(mean_canonical_correlation(one, other, explained=1.0)) > 0.5
    assert float(mean_canonical_correlation(one, other, explained=1.0, most=1)) < 0.15
    assert float(mean_canonical_correlation(torch.ones(50, 2), draw(50, 2))) == 0.0
    wide = draw(20, 40)
    assert float(mean_canonical_correlation(wide, wide @ draw(40, 40, seed=3), explained=1.0)) == pytest.approx(1.0)


def test_cka_is_the_unbiased_form_and_keeps_its_invariances() -> None:
    one, other = draw(12, 5), draw(12, 3, seed=1)
    other[:, 0] += one[:, 0]

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        """The unbiased HSIC, Song et al. 2012, equation 5, written with vectors of ones."""
        n, ones = len(k), np.ones(len(k))
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        sums = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float((np.trace(k @ m) + sums - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3)))

    kernels = [(x @ x.t()).numpy() for x in (one, other)]
    expected = hsic(*kernels) / math.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))
    assert float(linear_cka(one, other)) == pytest.approx(expected)
    rotation = torch.linalg.qr(draw(5, 5, seed=2)).Q
    assert float(linear_cka(3.0 * one @ rotation + 4.0, other)) == pytest.approx(expected)
    assert float(linear_cka(one, 0.1 * one @ rotation)) == pytest.approx(1.0)
    assert abs(float(linear_cka(draw(400, 50), draw(400, 50, seed=1)))) < 0.05


def test_lie_derivatives_of_pixels_have_a_closed_form() -> None:
    """For waves, the derivative of the image is known at every pixel; for colours, it is exact."""
    side, step = 64, 0.005
    ramp = ((torch.arange(side) + 0.5) / side * 2 - 1).double()
    x, y = ramp.expand(side, side), ramp.view(-1, 1).expand(side, side)
    fx, fy = 2.1, 3.3
    waves = [(fx * x + fy * y + phase).sin() for phase in (0.0, 1.0, 2.0)]
    slopes = [(fx * x + fy * y + phase).cos() for phase in (0.0, 1.0, 2.0)]
    images = torch.stack(waves).unsqueeze(0).float()
    cosine = torch.stack(slopes).unsqueeze(0)
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    expected = {
        "translation_x": 2 * fx * cosine,
        "translation_y": 2 * fy * cosine,
        "rotation": (-y * fx + x * fy) * cosine,
        "scale": (x * fx + y * fy) * cosine,
        "shear": y * fx * cosine,
        "brightness": images.double(),
        "saturation": images.double() - (torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1) * images).sum(1),
    }
    assert set(expected) == set(GENERATORS)
    for name, generator in GENERATORS.items():
        found = (generator(images, step) - generator(images, -step)) / (2 * step)
        torch.testing.assert_close(found[inside].double(), expected[name][inside], atol=0.03, rtol=0.01)


def test_the_squared_derivative_is_over_the_variance() -> None:
    """For f(x, t) = (1 + 3 t) x, the derivative is 3 x."""
    features = draw(50, 4) + 1.0
    value = squared_derivative(1.03 * features, 0.97 * features, 0.01, features)
    variance = (features - features.mean(0)).square().sum()
    assert float(value) == pytest.approx(float(9 * features.square().sum() / variance))


def test_every_operation_grows_with_its_strength_and_begins_at_none() -> None:
    images = smooth_images(16, 32)
    draws = Draws.make(16, torch.Generator().manual_seed(0), torch.device("cpu"))
    for name, operation in OPERATIONS.items():
        if name != "blur":  # its standard deviation cannot be 0
            torch.testing.assert_close(operation.apply(images, 0.0, draws), images, atol=1e-4, rtol=0)
        changes = [float((operation.apply(images, s, draws) - images).abs().mean()) for s in operation.strengths]
        assert changes == sorted(changes), name
        assert changes[0] > 1e-4


def test_fixed_transformations_treat_all_images_alike() -> None:
    images = smooth_images(5, 32)
    for name, fixed in FIXED.items():
        together = fixed.apply(images)
        alone = torch.cat([fixed.apply(image.unsqueeze(0)) for image in images])
        torch.testing.assert_close(together, alone, msg=name)
        assert float((together - images).abs().max()) > 1e-3, name
