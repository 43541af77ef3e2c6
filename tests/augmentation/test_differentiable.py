"""The differentiable colour jitter against its formula, pixel by pixel in float64, and against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clever.augmentation.differentiable import FROM_YIQ, TO_YIQ, differentiable_jitter
from clever.randomness import make_generator

GREY = (0.299, 0.587, 0.114)


def clip(value: float) -> float:
    return min(1.0, max(0.0, value))


def grey(pixel: list[float]) -> float:
    return sum(weight * channel for weight, channel in zip(GREY, pixel, strict=True))


def by_pixels(image: Tensor, factors: list[float]) -> Tensor:
    """Brightness, contrast, saturation and hue of one image, as Foster et al. define them."""
    b, c, s, h = factors
    pixels = [[clip(b * v) for v in pixel] for pixel in image.flatten(1).T.tolist()]
    mean = sum(grey(pixel) for pixel in pixels) / len(pixels)
    pixels = [[clip(c * v + (1 - c) * mean) for v in pixel] for pixel in pixels]
    pixels = [[clip(s * v + (1 - s) * grey(pixel)) for v in pixel] for pixel in pixels]
    cos, sin = math.cos(2 * math.pi * h), math.sin(2 * math.pi * h)
    turned = []
    for pixel in pixels:
        y, i, q = (sum(w * v for w, v in zip(row, pixel, strict=True)) for row in TO_YIQ)
        yiq = (y, cos * i - sin * q, sin * i + cos * q)
        turned.append([sum(w * v for w, v in zip(row, yiq, strict=True)) for row in FROM_YIQ])
    return torch.tensor(turned, dtype=torch.float64).T.reshape(image.shape)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 3, 5, generator=make_generator(0, "images"), dtype=torch.float64)


FACTORS = torch.tensor(
    [[1.3, 0.7, 1.4, 0.1], [0.6, 1.4, 0.6, -0.1], [1.0, 1.0, 1.0, 0.0], [1.2, 1.1, 0.9, 0.25]], dtype=torch.float64
)


def test_jitter_equals_the_formula_pixel_by_pixel(images: Tensor) -> None:
    applied = torch.ones(4, dtype=torch.bool)
    found = differentiable_jitter(images, FACTORS, applied)
    for image, factors, result in zip(images, FACTORS.tolist(), found, strict=True):
        torch.testing.assert_close(result, by_pixels(image, factors), rtol=0, atol=1e-12)


def test_neutral_factors_do_not_change_an_image(images: Tensor) -> None:
    neutral = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64).expand(4, 4)
    found = differentiable_jitter(images, neutral, torch.ones(4, dtype=torch.bool))
    # The published matrices are inverse to each other to three digits only.
    torch.testing.assert_close(found, images, rtol=0, atol=4e-3)


def test_gradient_equals_finite_differences(images: Tensor) -> None:
    soft = 0.35 + 0.2 * images  # nothing is clipped, so the function is smooth
    factors = FACTORS.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: differentiable_jitter(soft, f, torch.ones(4, dtype=torch.bool)), (factors,)
    )
    assert torch.autograd.gradgradcheck(
        lambda f: differentiable_jitter(soft, f, torch.ones(4, dtype=torch.bool)), (factors,)
    )


def test_images_without_jitter_are_unchanged_and_give_no_gradient(images: Tensor) -> None:
    factors = FACTORS.clone().requires_grad_()
    applied = torch.tensor([True, False, True, False])
    found = differentiable_jitter(images, factors, applied)
    assert torch.equal(found[~applied], images[~applied])
    (gradient,) = torch.autograd.grad(found.square().sum(), factors)
    assert torch.equal(gradient[~applied], torch.zeros(2, 4, dtype=torch.float64))
    assert bool((gradient[0] != 0).all())
