"""Sample images at the points of a transformed grid, smoothly and without showing areas beyond their edges."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Maps (x, y, 1) of a pixel of the result to the point at which it is sampled. Both are in units of half the side, from
the centre, x to the right and y downwards."""

INSCRIBED = 1 / math.sqrt(2)
"""Side of the largest centred square that stays within a unit square rotated by any angle."""


def warp(images: Tensor, matrix: Matrix | Tensor, interpolation: Literal["bilinear", "bicubic"]) -> Tensor:
    """Sample images float32 [N, 3, S, S] at the points of ``matrix``, one for all or a tensor [N, 2, 3].

    Points beyond an edge are reflected.
    """
    if not isinstance(matrix, Tensor):
        # The numbers are written one by one, because copying a small tensor to a GPU would make the host wait.
        filled = images.new_empty(2, 3)
        for row, numbers in enumerate(matrix):
            for column, number in enumerate(numbers):
                filled[row, column].fill_(number)
        matrix = filled.expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="reflection", align_corners=False)


def turned(degrees: float, zoom: float = 1.0) -> Matrix:
    """A matrix that rotates the image counter-clockwise and shows its centred square of ``zoom`` times its side."""
    cosine, sine = math.cos(math.radians(degrees)) * zoom, math.sin(math.radians(degrees)) * zoom
    return ((cosine, -sine, 0.0), (sine, cosine, 0.0))


def inscribed(images: Tensor, degrees: float) -> Tensor:
    """The inscribed square of the image rotated by ``degrees``, at the size of the image.

    It shows the same disc of the image at every angle, and never the corners that a rotation uncovers.
    """
    return warp(images, turned(degrees, INSCRIBED), "bicubic")


def full_turn(images: Tensor, degrees: float) -> Tensor:
    """The inscribed square of the image rotated by ``degrees`` and then by the rest of a full turn.

    Only interpolation makes it differ from ``inscribed(images, 0)``.
    """
    return inscribed(warp(images, turned(degrees), "bicubic"), 360.0 - degrees)
