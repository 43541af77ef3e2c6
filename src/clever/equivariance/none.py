"""No equivariance: the baseline alone, on the whole representation."""

from __future__ import annotations

from typing import Literal

from clever.augmentation import ParameterSpace
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, EquivarianceOptions, whole


class NoneOptions(EquivarianceOptions):
    """Nothing to set."""

    name: Literal["none"] = "none"


class NoEquivariance(Equivariance):
    """One head on ALL, one term: ``contrast``."""

    def __init__(self, options: NoneOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))

    def terms(self, batch: Batch) -> dict[str, Term]:
        return contrast(batch)
