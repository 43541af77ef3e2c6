"""No equivariance: the baseline alone, on the whole representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from clever.augmentation import ParameterSpace, View
from clever.equivariance.equivariance import Encoded, Equivariance, EquivarianceOptions, MakeBaseline, Term


class NoneOptions(EquivarianceOptions):
    """Nothing to set."""

    name: Literal["none"] = "none"


class NoEquivariance(Equivariance):
    """One head on ALL, one term: ``contrast``."""

    def __init__(
        self,
        options: EquivarianceOptions,
        feature_dim: int,
        make_baseline: MakeBaseline,
        space: ParameterSpace | None = None,
    ) -> None:
        super().__init__({"ALL": slice(0, feature_dim)}, make_baseline)
        self.options = options
        self.feature_dim = feature_dim

    def forward(
        self,
        student: Encoded,
        teacher: Encoded,
        heads: nn.ModuleDict,
        layers: nn.ModuleDict | None = None,
        views: Sequence[View] = (),
    ) -> dict[str, Term]:
        contrast = self.baseline("ALL").attract(student.outputs["ALL"], teacher.outputs["ALL"])
        return {"contrast": Term(contrast, 1.0)}
