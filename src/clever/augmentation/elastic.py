"""Elastic distortion: every pixel is shifted by a smooth random field that a seed determines.

The field is torchvision's ``ElasticTransform``: uniform noise in [-1, 1), smoothed by a Gaussian and scaled by alpha.
The noise comes from a counter-based integer hash instead of a generator, so that a seed gives the same field on every
device and in every batch.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from clever.augmentation.blur import blur_matrix, smooth


def elastic(images: Tensor, seed: Tensor, alpha: float, sigma: float) -> Tensor:
    """torchvision's ``elastic_transform`` (bilinear, fill 0) with one displacement field per image.

    Args:
        images: float32 [N, 3, S, S].
        seed: int64 [N] in [0, 2**31).
        alpha: strength; alpha / 2 times the smoothed noise is the shift in pixels.
        sigma: standard deviation of the smoothing in pixels.

    Returns:
        A new tensor of the same shape.
    """
    return warp(images, displacement(seed, images.shape[-1], alpha, sigma))


def warp(images: Tensor, shift: Tensor) -> Tensor:
    """Sample images at the regular grid plus ``shift``.

    Args:
        images: float32 [N, 3, S, S].
        shift: float32 [N, 2, S, S], horizontal then vertical, as a share of half the image's side.
    """
    size = images.shape[-1]
    ramp = (torch.arange(size, device=images.device, dtype=torch.float32) * 2 + (1 - size)) / size
    x, y = shift[:, 0] + ramp, shift[:, 1] + ramp.view(size, 1)
    grid = torch.view_as_real(torch.complex(x, y))
    warped = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # torchvision blends with the fill colour by the weight of the neighbours inside the image, although its sampling
    # has already applied that weight: with a black fill, the border is weighted twice.
    for edge in (x, y):
        edge.abs_().mul_(-size / 2).add_((size + 1) / 2).clamp_(0.0, 1.0)
    return warped.mul_(x.mul_(y).unsqueeze(1))


def displacement(seed: Tensor, size: int, alpha: float, sigma: float) -> Tensor:
    """The smooth fields [N, 2, size, size] of these seeds, in units of half the image's side."""
    half_width = int(8 * sigma + 1) // 2
    matrix = _smoothing(size, sigma, half_width, seed.device)
    return smooth(noise(seed, size), matrix.expand(len(seed), -1, -1), half_width).mul_(alpha / size)


def noise(seed: Tensor, size: int) -> Tensor:
    """Uniform noise in [-1, 1), float32 [N, 2, size, size], a pure function of each seed and the position."""
    counter = torch.arange(2 * size * size, device=seed.device, dtype=torch.int32)
    key = _mix(seed.to(torch.int32))
    bits = _mix(_mix(counter).unsqueeze(0) ^ key.unsqueeze(1))
    # The upper 24 bits, signed, are exact in float32.
    return (bits >> 8).to(torch.float32).mul_(2.0**-23).view(-1, 2, size, size)


def _mix(bits: Tensor) -> Tensor:
    """A bijection of 32-bit integers that scatters neighbours (C. Wellons' "lowbias32")."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits = bits * 0x7FEB352D
    bits = bits ^ ((bits >> 15) & 0x1FFFF)
    bits = bits * (0x846CA68B - 2**32)
    return bits ^ ((bits >> 16) & 0xFFFF)


@lru_cache(maxsize=16)
def _smoothing(size: int, sigma: float, half_width: int, device: torch.device) -> Tensor:
    return blur_matrix(torch.tensor([sigma]), size, half_width).to(device)
