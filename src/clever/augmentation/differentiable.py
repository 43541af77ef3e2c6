"""The colour jitter as a differentiable function of its four factors, after Foster et al. (arXiv 2010.09515).

From invclr's data/augmentation.py: brightness, contrast, saturation and hue in this order, with the hue rotated in YIQ,
which unlike HSV is smooth everywhere. torchvision's jitter, which the augmentations use otherwise, shuffles the order
and rotates the hue in HSV.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clever.augmentation.constants import constant

FACTORS = ("brightness", "contrast", "saturation", "hue")
"""Names of the four columns of the factors; 1, 1, 1, 0 leave an image unchanged."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey level, and the first row of the RGB-to-YIQ matrix."""

TO_YIQ = (LUMA, (0.596, -0.274, -0.321), (0.211, -0.523, 0.311))
FROM_YIQ = ((1.0, 0.956, 0.621), (1.0, -0.272, -0.647), (1.0, -1.107, 1.705))


def differentiable_jitter(images: Tensor, factors: Tensor, applied: Tensor) -> Tensor:
    """Colour jitter with gradients for the factors (and the images).

    Args:
        images: float [N, 3, H, W] in [0, 1].
        factors: float [N, 4], see ``FACTORS``; the hue as a share of the colour circle.
        applied: bool [N]; other images stay unchanged, and their factors get a gradient of 0.

    Returns:
        A new tensor; after the hue it is not clipped to [0, 1], as in the source.
    """
    brightness, contrast, saturation, hue = (column.view(-1, 1, 1, 1) for column in factors.unbind(1))
    changed = (images * brightness).clamp(0.0, 1.0)
    changed = (changed * contrast + (1.0 - contrast) * luma(changed).mean((2, 3), keepdim=True)).clamp(0.0, 1.0)
    changed = (changed * saturation + (1.0 - saturation) * luma(changed)).clamp(0.0, 1.0)
    changed = torch.einsum("nij,njhw->nihw", hue_matrices(hue.flatten()), changed)
    return torch.where(applied.view(-1, 1, 1, 1), changed, images)


def hue_matrices(hue: Tensor) -> Tensor:
    """The matrices [N, 3, 3] that rotate RGB colours by ``hue`` [N] of a full circle in the plane of I and Q."""
    turn = 2.0 * math.pi * hue
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    rows = (one, zero, zero, zero, turn.cos(), -turn.sin(), zero, turn.sin(), turn.cos())
    rotation = torch.stack(rows, 1).view(-1, 3, 3)
    from_yiq, to_yiq = (constant(matrix, hue.device, hue.dtype) for matrix in (FROM_YIQ, TO_YIQ))
    return from_yiq @ rotation @ to_yiq


def luma(images: Tensor) -> Tensor:
    """Grey levels [N, 1, H, W]."""
    return (images * constant(LUMA, images.device, images.dtype).view(1, 3, 1, 1)).sum(1, keepdim=True)
