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

    The features [N, D] are not centred. The value ranges from 1 (a single direction) to the smaller of N and D (all
    directions equal). The training diagnostic ``effective_rank`` centres and squares, so it is a different number.
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
    """alpha-ReQ (Agrawal et al. 2022): the decay rate of the covariance's eigenvalues, float64 [].

    It is the negative slope of a least-squares line through log eigenvalue over log index, from the ``first`` to the
    ``last`` eigenvalue (counted from 1, largest first), without eigenvalues that are 0 up to rounding. The features are
    [N, D]. NaN if fewer than two eigenvalues are left.
    """
    rows = features.double() - features.double().mean(0)
    values = torch.linalg.eigvalsh(rows @ rows.t() if len(rows) < rows.shape[1] else rows.t() @ rows).flip(0)
    values = values[first - 1 : last] / values[:1]
    # Rounding errors make a zero eigenvalue about 1e-16 of the largest one.
    used = (values > _RANK_TOLERANCE).double()
    logs = values.clamp_min(_RANK_TOLERANCE).log()
    index = torch.arange(first, first + len(values), device=values.device, dtype=torch.float64).log()
    centred = (index - (index * used).sum() / used.sum()) * used
    slope: Tensor = (centred * logs).sum() / centred.square().sum()
    return -slope


def lidar(views: Tensor) -> Tensor:
    """LiDAR (Thilak et al. 2024): the effective rank of linear discriminant analysis among images, float64 [].

    Each image is a class, and its augmented views are the samples. LiDAR is RankMe's measure for the eigenvalues of
    Sw^-1/2 Sb Sw^-1/2, where Sb is the covariance of the class means, and Sw is the covariance within classes plus 1e-4
    I.

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
    # Sb has a rank below C, and the nonzero eigenvalues of Sw^-1/2 Sb Sw^-1/2 equal those of M Sw^-1 M'.
    if width > count:
        whitened = between @ torch.linalg.solve(within, between.t()) / (count - 1)
    else:
        factor = torch.linalg.cholesky(within)
        half = torch.linalg.solve_triangular(factor, between.t(), upper=False)
        whitened = half @ half.t() / (count - 1)
    return entropy_rank(torch.linalg.eigvalsh(whitened).clamp_min(0.0), LIDAR_OFFSET)
