"""Foster et al.'s regulariser against finite differences, and a run with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from clever.augmentation.differentiable import differentiable_jitter
from clever.data import Store
from clever.equivariance.gradient import first_order_change
from clever.equivariance.options.gradient import GradientOptions
from clever.errors import UserError
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator, seeded

TINY = {"draws": 3, "upper_limit": 1e6}

RecipeMaker = Callable[..., RunRecipe]
N, D, DRAWS = 3, 3, 4


class Encoder(nn.Module):
    """A small, smooth network that encodes each image separately."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.Tanh(), nn.Linear(5, D)).double()

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.layers(images), dim=1)


@pytest.fixture
def images() -> Tensor:
    # Far from black and white, nothing is clipped, so finite differences are meaningful.
    return 0.35 + 0.2 * torch.rand(N, 3, 4, 4, generator=make_generator(0, "images"), dtype=torch.float64)


@pytest.fixture
def factors() -> Tensor:
    return torch.tensor([[1.1, 0.9, 1.2, 0.05], [0.9, 1.1, 0.8, -0.05], [1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)


@pytest.fixture
def redrawn(factors: Tensor) -> Tensor:
    change = torch.randn(DRAWS, N, 4, generator=make_generator(1, "draws"), dtype=torch.float64)
    return factors + 0.1 * change


EVERYWHERE = torch.ones(N, dtype=torch.bool)


def test_the_mean_over_all_signs_is_the_squared_first_order_change(
    images: Tensor, factors: Tensor, redrawn: Tensor
) -> None:
    """E_e (g.d)^2 = ||J d||^2, with J d from central differences along d, image by image."""
    encoder = Encoder()
    total, patterns = 0.0, list(itertools.product((-1.0, 1.0), repeat=N * D))
    for pattern in patterns:
        leaf = factors.clone().requires_grad_()
        features = encoder(differentiable_jitter(images, leaf, EVERYWHERE))
        signs = torch.tensor(pattern, dtype=torch.float64).view(N, D)
        total += first_order_change(features, leaf, signs, redrawn).item()

    expected, step = 0.0, 1e-6
    with torch.no_grad():
        for draw in redrawn:
            ahead = encoder(differentiable_jitter(images, factors + step * (draw - factors), EVERYWHERE))
            behind = encoder(differentiable_jitter(images, factors - step * (draw - factors), EVERYWHERE))
            expected += float(((ahead - behind) / (2 * step)).square().sum())
    assert total / len(patterns) == pytest.approx(expected / (DRAWS * N), rel=1e-6)


def test_the_gradient_of_the_weights_equals_finite_differences(
    images: Tensor, factors: Tensor, redrawn: Tensor
) -> None:
    encoder = Encoder()
    signs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)

    def value() -> Tensor:
        leaf = factors.clone().requires_grad_()
        return first_order_change(encoder(differentiable_jitter(images, leaf, EVERYWHERE)), leaf, signs, redrawn)

    parameters = list(encoder.parameters())
    gradients = torch.autograd.grad(value(), parameters, allow_unused=True)
    directions = [torch.randn(p.shape, generator=make_generator(2), dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    step, values = 1e-5, []
    for sign in (1, -1):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data.add_(direction, alpha=sign * step)
        values.append(value().item())
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data.sub_(direction, alpha=sign * step)
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def trainer_for(recipe: RunRecipe, store: Store, **settings: bool) -> Trainer:
    return Trainer(recipe, store.mean, store.std, 6, torch.device("cpu"), **settings)


@pytest.mark.parametrize("backbone", [{}, {"name": "test_vit", "patch_size": 8}], ids=["resnet", "vit"])
def test_a_run_takes_its_gradient_through_the_backbone(
    backbone: dict[str, object], colourful_store: Store, make_recipe: RecipeMaker
) -> None:
    options = {"name": "gradient", "draws": 3, "gradient_weight": 10.0, "upper_limit": 1e6}
    regularised = make_recipe(equivariance=options, backbone=backbone)
    plain = make_recipe(equivariance="none", backbone=backbone)
    batch = colourful_store.split("train").images(range(16))
    gradients = []
    for recipe in (plain, regularised):
        trainer = trainer_for(recipe, colourful_store)
        values = trainer.compute_gradients(batch, 0)
        gradients.append({name: p.grad.clone() for name, p in trainer.student.named_parameters() if p.grad is not None})
    assert float(values["loss_gradient"]) > 0
    first = next(iter(gradients[0]))
    assert not torch.allclose(gradients[0][first], gradients[1][first], rtol=1e-3, atol=0)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients[1].values())


def test_above_the_limit_there_is_no_gradient(colourful_store: Store, make_recipe: RecipeMaker) -> None:
    options = {"name": "gradient", "draws": 3, "gradient_weight": 10.0, "upper_limit": 1e-9}
    batch = colourful_store.split("train").images(range(16))
    limited = trainer_for(make_recipe(equivariance=options), colourful_store)
    values = limited.compute_gradients(batch, 0)
    assert float(values["loss_gradient"]) == pytest.approx(1e-9)
    free = trainer_for(make_recipe(equivariance=options | {"gradient_weight": 0.0}), colourful_store)
    free.compute_gradients(batch, 0)
    for one, other in zip(limited.student.parameters(), free.student.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert torch.equal(one.grad, other.grad)


def test_unsupported_settings_are_rejected_before_training(digits_store: Store, make_recipe: RecipeMaker) -> None:
    with pytest.raises(UserError, match="gradient differentiates twice, which a compiled backbone cannot"):
        trainer_for(make_recipe(equivariance="gradient"), digits_store, compile_backbone=True)
    views, backbone = make_recipe().augmentation, make_recipe().backbone
    assert views is not None
    options = GradientOptions()
    assert options.refusal(views, backbone) is None
    refused = options.refusal(views, backbone.model_copy(update={"name": "vmamba_tiny"}))
    assert refused is not None
    assert "VMamba's selective scan" in refused
