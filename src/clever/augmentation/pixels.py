"""Input checks and output normalisation shared by this package's entry points: uint8 images in, normalised floats
out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.errors import UserError


def check_pixels(pixels: Tensor, sizes: Tensor) -> None:
    """Check that the arguments are a batch of images.

    Raises:
        UserError: unless pixels are uint8 [N, 3, H, W] and sizes [N, 2].
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UserError(f"pixels must be uint8 [N, 3, H, W], not {pixels.dtype} {list(pixels.shape)}")
    if tuple(sizes.shape) != (len(pixels), 2):
        raise UserError(f"sizes must be [{len(pixels)}, 2], one height and width per image, not {list(sizes.shape)}")


def check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Check that there are three means and three positive standard deviations.

    Raises:
        UserError: otherwise; the message quotes the arguments.
    """
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise UserError(f"normalisation needs 3 means and 3 positive deviations, not {list(mean)} and {list(std)}")


def normalise_(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the means and divide by the standard deviations of the three channels, in place."""
    check_normalisation(mean, std)
    # Python numbers instead of small tensors: copying those to a GPU would make the host wait.
    for channel in range(3):
        images[:, channel].sub_(mean[channel]).div_(std[channel])
    return images
