"""Groups of exact transformations of an image, for E-SSL to distinguish: nothing is interpolated or cut off.

They are the paper's groups (Dangovski et al., ICLR 2022) that are exact on a square crop, and the half-period
translations of its photonic crystals. Each function returns the images under every member, the identity first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clever.augmentation.colour import LUMA
from clever.augmentation.views import Normalisation
from clever.equivariance.options.essl import GroupName


def rotation(images: Tensor, _normalisation: Normalisation) -> list[Tensor]:
    """Images rotated by 0, 90, 180 and 270 degrees counter-clockwise."""
    return [torch.rot90(images, quarters, (2, 3)) for quarters in range(4)]


def horizontal_flip(images: Tensor, _normalisation: Normalisation) -> list[Tensor]:
    """Unchanged images, and images mirrored left to right."""
    return [images, images.flip(3)]


def vertical_flip(images: Tensor, _normalisation: Normalisation) -> list[Tensor]:
    """Unchanged images, and images flipped upside down."""
    return [images, images.flip(2)]


def translation(images: Tensor, _normalisation: Normalisation) -> list[Tensor]:
    """Images rolled by half the height (last bit of the class) and half the width (first bit); the sides must be
    even."""
    height, width = images.shape[2] // 2, images.shape[3] // 2
    return [images.roll((down * height, right * width), (2, 3)) for right in range(2) for down in range(2)]


def grayscale(images: Tensor, normalisation: Normalisation) -> list[Tensor]:
    """Unchanged images, and grayscale images with the grey level that torchvision computes for pixels in [0, 1]."""
    mean, std = normalisation
    red, green, blue = (images[:, c] * (std[c] * LUMA[c]) + mean[c] * LUMA[c] for c in range(3))
    grey = red + green + blue
    return [images, torch.stack([(grey - mean[c]) / std[c] for c in range(3)], 1)]


def colour_inversion(images: Tensor, normalisation: Normalisation) -> list[Tensor]:
    """Unchanged images, and inverted images: each pixel x in [0, 1] becomes 1 - x."""
    mean, std = normalisation
    return [images, torch.stack([(1.0 - 2.0 * mean[c]) / std[c] - images[:, c] for c in range(3)], 1)]


GROUPS: dict[GroupName, Callable[[Tensor, Normalisation], list[Tensor]]] = {
    "rotation": rotation,
    "horizontal_flip": horizontal_flip,
    "vertical_flip": vertical_flip,
    "translation": translation,
    "grayscale": grayscale,
    "colour_inversion": colour_inversion,
}
"""Maps normalised images [N, 3, S, S] and their normalisation to k tensors [N, 3, S, S]; k is the group's
``CLASSES``."""

CLASSES: dict[GroupName, int] = {
    "rotation": 4,
    "horizontal_flip": 2,
    "vertical_flip": 2,
    "translation": 4,
    "grayscale": 2,
    "colour_inversion": 2,
}
"""The number of members of each group."""
