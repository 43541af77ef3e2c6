"""Rotate each image by a separate angle about its centre: nearest pixel, same size, black corners."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """torchvision's ``rotate`` with its defaults, one angle per image.

    Args:
        images: float32 [N, 3, S, S].
        angle: float [N], degrees, counter-clockwise.

    Returns:
        A new tensor of the same shape.
    """
    size = images.shape[-1]
    radians = torch.deg2rad(angle.double())
    half = size / 2
    turn = torch.complex(radians.cos() / half, radians.sin() / half).to(torch.complex64).view(-1, 1, 1)
    ramp = torch.arange(size, device=images.device, dtype=torch.float32) - (half - 0.5)
    # x + iy is a pixel's position; its product with the rotation is the position from which it is sampled.
    grid = torch.view_as_real(turn * ramp.view(1, size) + turn * (1j * ramp.view(size, 1)))
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)
