"""The similarity of two groups of features: linear CKA and canonical correlation."""

from __future__ import annotations

import torch
from torch import Tensor

_RANK_TOLERANCE = 1e-12


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """Linear centred kernel alignment of features [N, D] and [N, E], N at least 4: float64 [].

    Kornblith et al. 2019, with the unbiased estimate of HSIC (Song et al. 2012), whose expectation is 0 for independent
    features, whatever N and the widths are. It is 1 if one group is a rotated and scaled version of the other. It may
    be slightly below 0; NaN if a group does not vary.
    """
    kernels = [_hollow(features) for features in (one, other)]
    cross, first, second = (_hsic(*pair) for pair in ((kernels[0], kernels[1]), (kernels[0],) * 2, (kernels[1],) * 2))
    return cross / (first * second).sqrt()


def _hollow(features: Tensor) -> Tensor:
    # Centring only reduces rounding errors.
    rows = features.double() - features.double().mean(0)
    return (rows @ rows.t()).fill_diagonal_(0.0)


def _hsic(one: Tensor, other: Tensor) -> Tensor:
    count = len(one)
    trace: Tensor = (one * other).sum()
    sums: Tensor = one.sum() * other.sum() / ((count - 1) * (count - 2))
    products = (one.sum(0) * other.sum(0)).sum() * 2.0 / (count - 2)
    total: Tensor = trace + sums - products
    return total / (count * (count - 3))


def mean_canonical_correlation(one: Tensor, other: Tensor, explained: float = 0.99, most: int | None = None) -> Tensor:
    """The mean canonical correlation of features [N, D] and [N, E], without dimensions of little variance.

    As in SVCCA (Raghu et al. 2017), each group keeps the leading principal components that hold ``explained`` of its
    variance, at most ``most`` of them. The correlation is measured on the rows on which it is fitted, so for
    independent features it exceeds 0 by about sqrt(components / N).

    Returns:
        float64 [] in [0, 1], the mean over the smaller number of components; 0 for a group that does not vary.
    """
    first, second = (_principal(features, explained, most) for features in (one, other))
    correlations = torch.linalg.svdvals(first.t() @ second)
    # Omitted components are columns of zeros, whose correlations are zero.
    kept: Tensor = torch.minimum(first.square().sum().round(), second.square().sum().round()).clamp_min(1.0)
    total: Tensor = correlations.clamp_max(1.0).sum()
    return total / kept


def _principal(features: Tensor, explained: float, most: int | None) -> Tensor:
    """Orthonormal columns [N, R]: the leading left singular vectors of the centred features, and zeros for the
    others."""
    rows = features.double() - features.double().mean(0)
    wide = rows.shape[1] > len(rows)
    # Use the smaller Gram matrix; it is accurate enough for the kept components, which have much variance.
    variance, vectors = torch.linalg.eigh(rows @ rows.t() if wide else rows.t() @ rows)
    variance, vectors = variance.flip(0).clamp_min(0.0), vectors.flip(1)
    before = variance.cumsum(0) - variance
    keep = (before < explained * variance.sum()) & (variance > _RANK_TOLERANCE * variance[:1])
    # The width is fixed, because only the device knows how many components are kept.
    variance, vectors, keep = variance[:most], vectors[:, :most], keep[:most]
    left: Tensor = vectors if wide else (rows @ vectors) * torch.where(keep, variance.rsqrt(), 0.0)
    kept: Tensor = left * keep
    return kept
