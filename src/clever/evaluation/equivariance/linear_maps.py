"""Linear maps from the features of images to the features of transformed images, by ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_RANK_TOLERANCE = 1e-12


class RidgeMaps:
    """Ridge regression from fixed features to any targets; the features are decomposed only once.

    The penalty minimises the error of generalised cross-validation (Golub, Heath and Wahba 1979). All arithmetic is in
    float64.

    Args:
        features: [N, D].
        penalties: above 0, in units of N times the mean variance of a feature.
    """

    def __init__(self, features: Tensor, penalties: Sequence[float]) -> None:
        self._mean = features.double().mean(0)
        rows = features.double() - self._mean
        self._count = len(rows)
        if self._count < rows.shape[1]:
            values, self._left = torch.linalg.eigh(rows @ rows.t())
        else:
            values, right = torch.linalg.eigh(rows.t() @ rows)
        values = values.clamp_min(0.0)
        # Directions that are zero up to rounding have no well-defined singular vector.
        inverse = torch.where(values > _RANK_TOLERANCE * values[-1], values.rsqrt(), 0.0)
        if self._count < rows.shape[1]:
            self._right = rows.t() @ (self._left * inverse)
        else:
            self._right, self._left = right, rows @ (right * inverse)
        self._inverse = inverse
        unit = values.sum() / rows.shape[1]
        self._kept = torch.stack([values / (values + penalty * unit) for penalty in penalties])
        """The share of each direction that each penalty keeps, [P, R]."""

    def predict(self, targets: Tensor, features: Tensor) -> Tensor:
        """Fit targets [N, T] and predict for features [M, D]: float64 [M, T].

        Constant features give the mean of the targets.
        """
        mean = targets.double().mean(0)
        coordinates = self._left.t() @ (targets.double() - mean)
        lengths = coordinates.square().sum(1)
        total = (targets.double() - mean).square().sum()
        residuals = total - ((1.0 - (1.0 - self._kept) ** 2) * lengths).sum(1)
        freedom = self._count - 1.0 - self._kept.sum(1)
        best = (residuals.clamp_min(0.0) / freedom.clamp_min(1e-9).square()).argmin()
        weights = self._kept.index_select(0, best.view(1))[0] * self._inverse
        # Without any variance, the kept shares of the variance are undefined.
        moved = ((features.double() - self._mean) @ self._right) * weights.nan_to_num(0.0)
        predictions: Tensor = moved @ coordinates + mean
        return predictions


def relative_error(predictions: Tensor, truth: Tensor, mean: Tensor) -> Tensor:
    """Squared error of predictions [N, D], divided by the error of predicting ``mean`` [D] for every row: float64 [].

    0 is perfect, and 1 is as good as the mean; NaN if the truth equals the mean.
    """
    truth = truth.double()
    return (predictions.double() - truth).square().sum() / (truth - mean.double()).square().sum()


def mean_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Mean cosine between the rows of [N, D] and [N, D], float64 []."""
    return torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=1).mean()
