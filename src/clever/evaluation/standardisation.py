"""Shift and scale features to mean 0 and standard deviation 1, as measured on training features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standardisation:
    """Per-feature shift and scale, float32 [width]."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, views: list[Tensor]) -> Standardisation:
        """Measure shift and scale on training features, each [N, width]. A feature that is constant up to rounding is
        only shifted."""
        n = sum(len(view) for view in views)
        mean = sum((_sum64(view, 0.0) for view in views), start=torch.zeros(())) / n
        deviation = (sum((_sum64(view, mean, power=2) for view in views), start=torch.zeros(())) / n).sqrt()
        constant = deviation <= 1e-6 * mean.abs()
        return cls(mean.float(), torch.where(constant, 1.0, deviation).float())

    def __call__(self, features: Tensor) -> Tensor:
        """Features [N, width], standardised."""
        return (features - self.mean) / self.scale


def _sum64(features: Tensor, centre: Tensor | float, power: int = 1) -> Tensor:
    """Sum over rows of (features - centre)^power in float64, in chunks to avoid a float64 copy of all features."""
    total = features.new_zeros(features.shape[1], dtype=torch.float64)
    for chunk in torch.split(features, 4096):
        total += ((chunk.double() - centre) ** power).sum(dim=0)
    return total
