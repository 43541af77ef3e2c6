"""Measures of features on the unit sphere: alignment, uniformity, tolerance and the entropy of penalties."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment(views: Tensor) -> Tensor:
    """Mean squared distance between two views of an image (Wang and Isola 2020), over all pairs of views: float64 [].

    Args:
        views: features [C, Q, D] of Q views of C images; they are normalised here.
    """
    units = F.normalize(views.double(), dim=2)
    times = units.shape[1]
    # |a - b|^2, averaged over pairs, is twice the unbiased variance.
    return 2.0 * (units - units.mean(1, keepdim=True)).square().sum(2).sum(1).mean() / (times - 1)


def uniformity(features: Tensor, t: float = 2.0) -> Tensor:
    """log mean exp(-t d^2) over all pairs of different images (Wang and Isola 2020), float64 []; lower is more uniform.

    The features [N, D] are normalised here.
    """
    squared = (2.0 - 2.0 * _cosines(features)).clamp_min(0.0)
    similar = (-t * squared).exp().fill_diagonal_(0.0)
    return (similar.sum() / (len(features) * (len(features) - 1))).log()


def tolerance(features: Tensor, labels: Tensor) -> Tensor:
    """Mean cosine of two different images of one class (Wang and Liu 2021), float64 []; NaN if no class has two.

    Args:
        features: [N, D].
        labels: int64 [N].
    """
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).fill_diagonal_(False)
    return (_cosines(features) * same).sum() / same.sum()


def penalty_entropy(features: Tensor, temperature: float) -> Tensor:
    """The evenness of a contrastive loss's penalties on negatives (Wang and Liu 2021): float64 [], in (0, 1].

    The penalty of image j on image i is exp(s_ij / temperature), divided by its sum over all j except i. Its entropy is
    divided by the entropy of equal penalties, log(N - 1). The features are [N, D], N at least 3.
    """
    logits = (_cosines(features) / temperature).fill_diagonal_(-torch.inf)
    shares = logits.softmax(1)
    logs = logits.log_softmax(1).fill_diagonal_(0.0)
    return -(shares * logs).sum(1).mean() / math.log(len(features) - 1)


def _cosines(features: Tensor) -> Tensor:
    units = F.normalize(features.double(), dim=1)
    return units @ units.t()
