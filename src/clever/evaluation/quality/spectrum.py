"""Measures of the spectrum of features: RankMe, alpha-ReQ and LiDAR. All arithmetic is in float64."""

from __future__ import annotations

import torch
from torch import Tensor

RANKME_OFFSET = 1e-7
LIDAR_OFFSET = 1e-8
LIDAR_RIDGE = 1e-4
_RANK_TOLERANCE = 1e-12


def rankme(features: Tensor) -> Tensor:
    """RankMe (Garrido et al. 2023): the exponential of the entropy of the normalised singular values, float64 [].

    Of features [N, D], which are not centred. From 1 (one direction) to the smaller of N and D (all alike). The
    diagnostic ``effective_rank`` of a training run centres and squares, and is another number.
    """
    rows = features.double()
    gram = rows @ rows.t() if len(rows) < rows.shape[1] else rows.t() @ rows
    singular = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    return entropy_rank(singular, RANKME_OFFSET)


def entropy_rank(values: Tensor, offset: float) -> Tensor:
    """exp(-sum p log p) with p = v / sum(v) + offset, of values [R] that are at least 0; NaN if all are 0."""
    shares = values / values.sum() + offset
    rank: Tensor = (-(shares * shares.log()).sum()).exp()
    return rank


def alpha_req(features: Tensor, first: int, last: int) -> Tensor:
    """alpha-ReQ (Agrawal et al. 2022): how fast the eigenvalues of the covariance fall, float64 [].

    Minus the slope of a least-squares line through log eigenvalue over log index, from the ``first`` to the ``last``
    eigenvalue (from 1, largest first), without those that are 0 up to rounding. Of features [N, D]. NaN if fewer than
    two are left.
    """
    rows = features.double() - features.double().mean(0)
    values = torch.linalg.eigvalsh(rows @ rows.t() if len(rows) < rows.shape[1] else rows.t() @ rows).flip(0)
    values = values[first - 1 : last] / values[:1]
    # Rounding leaves an eigenvalue that is zero at about 1e-16 of the largest.
    used = (values > _RANK_TOLERANCE).double()
    logs = values.clamp_min(_RANK_TOLERANCE).log()
    index = torch.arange(first, first + len(values), device=values.device, dtype=torch.float64).log()
    centred = (index - (index * used).sum() / used.sum()) * used
    slope: Tensor = (centred * logs).sum() / centred.square().sum()
    return -slope


def lidar(views: Tensor) -> Tensor:
    """LiDAR (Thilak et al. 2024): the effective rank of linear discriminant analysis among images, float64 [].

    Each image is a class, its augmented views are the samples: RankMe's measure, of the eigenvalues of
    Sw^-1/2 Sb Sw^-1/2, with Sb the covariance of the classes' means and Sw that within classes plus 1e-4 I.

    Args:
        views: features [C, Q, D] of Q views of C images, at least two each.
    """
    count, times, width = views.shape
    views = views.double()
    means = views.mean(1)
    spread = (views - means.unsqueeze(1)).reshape(count * times, width)
    between = means - means.mean(0)
    within = spread.t() @ spread / (count * (times - 1))
    within.diagonal().add_(LIDAR_RIDGE)
    # Sb has a rank below C, and the eigenvalues of Sw^-1/2 Sb Sw^-1/2 that are not 0 are those of M Sw^-1 M'.
    if width > count:
        whitened = between @ torch.linalg.solve(within, between.t()) / (count - 1)
    else:
        factor = torch.linalg.cholesky(within)
        half = torch.linalg.solve_triangular(factor, between.t(), upper=False)
        whitened = half @ half.t() / (count - 1)
    return entropy_rank(torch.linalg.eigvalsh(whitened).clamp_min(0.0), LIDAR_OFFSET)
