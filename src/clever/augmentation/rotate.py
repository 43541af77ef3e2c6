"""Rotate each image by its own angle about its centre: nearest pixel, same size, black corners."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """torchvision's ``rotate`` with its defaults, one angle an image.

    Args:
        images: float32 [N, 3, S, S].
        angle: float [N], degrees, counter-clockwise.

    Returns:
        A new tensor of the same shape.
    """
    size = images.shape[-1]
    radians = torch.deg2rad(angle.double())
    half = size / 2
    cosine = (radians.cos() / half).float().view(-1, 1, 1)
    sine = (radians.sin() / half).float().view(-1, 1, 1)
    ramp = torch.arange(size, device=images.device, dtype=torch.float32) - (half - 0.5)
    x, y = ramp.view(1, 1, size), ramp.view(1, size, 1)
    grid = torch.stack((cosine * x - sine * y, sine * x + cosine * y), dim=3)
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)
