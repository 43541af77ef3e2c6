"""No equivariance: the baseline alone, on the whole representation."""

from __future__ import annotations

from typing import Literal

from torch import nn

from clever.equivariance.equivariance import Encoded, Equivariance, EquivarianceOptions, MakeBaseline, Term


class NoneOptions(EquivarianceOptions):
    """Nothing to set."""

    name: Literal["none"] = "none"


class NoEquivariance(Equivariance):
    """One head on ALL, one term: ``contrast``."""

    def __init__(self, options: NoneOptions, feature_dim: int, make_baseline: MakeBaseline) -> None:
        super().__init__({"ALL": slice(0, feature_dim)}, make_baseline)

    def forward(self, student: Encoded, teacher: Encoded, heads: nn.ModuleDict) -> dict[str, Term]:
        contrast = self.baseline("ALL").attract(student.outputs["ALL"], teacher.outputs["ALL"])
        return {"contrast": Term(contrast, 1.0)}
