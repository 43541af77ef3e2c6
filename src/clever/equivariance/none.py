"""No equivariance: the baseline alone, on the whole representation."""

from __future__ import annotations

from clever.augmentation import ParameterSpace
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.none import NoneOptions


class NoEquivariance(Equivariance):
    """One head on ALL and one term, ``contrast``."""

    def __init__(self, options: NoneOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))

    def terms(self, batch: Batch) -> dict[str, Term]:
        return contrast(batch)
