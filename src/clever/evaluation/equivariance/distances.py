"""Distances between the features of two images, by their angle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean of 1 - cosine over the rows of features [N, D] and [N, D], float64 [].

    Two zero vectors have distance 0; a zero vector and any other vector have distance 1.
    """
    one, other = one.double(), other.double()
    cosines = (F.normalize(one, dim=1) * F.normalize(other, dim=1)).sum(1)
    both_zero = (one == 0).all(1) & (other == 0).all(1)
    return (1.0 - torch.where(both_zero, 1.0, cosines)).clamp_min(0.0).mean()


def distance_between_images(features: Tensor) -> Tensor:
    """Mean of 1 - cosine over all pairs of different rows of features [N, D], N at least 2: float64 [].

    Rows of zeros have distance 1 from every other row.
    """
    count, units = len(features), F.normalize(features.double(), dim=1)
    squares = units.square().sum()
    return 1.0 - (units.sum(0).square().sum() - squares) / (count * (count - 1))
