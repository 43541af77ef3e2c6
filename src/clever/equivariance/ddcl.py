"""DDCL: the representation is split, and the equivariant factors of two views are made orthogonal.

Distortion-Disentangled Contrastive Learning (arXiv 2303.05066), the predecessor of CLeVER.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import nn

from clever.augmentation import ParameterSpace, View
from clever.backbones.representation import Split
from clever.equivariance.equivariance import Encoded, Equivariance, EquivarianceOptions, MakeBaseline, Term


class SplitOptions(EquivarianceOptions):
    """What every add-on that splits the representation can set."""

    separation_ratio: float = Field(default=0.8, gt=0, lt=1)
    """Share of the representation that is the IR (the paper: 0.8); the rest is the EF. Its ablation runs 0.5 to 0.9."""
    orthogonality_weight: float = Field(default=1.0, ge=0)
    """Weight of the orthogonality between the EFs of two views (the authors' sep_lambd)."""
    ef_baseline: dict[str, int | float | bool | str] = Field(default={})
    """Options of the baseline that differ on the EF, e.g. {out_dim: 16384} for the authors' DVR_out_dim ablation."""


class DdclOptions(SplitOptions):
    """DDCL's settings."""

    name: Literal["ddcl"] = "ddcl"


class Ddcl(Equivariance):
    """Attraction on IR (``contrast``) and the same baseline's similarity on EF driven to zero (``orthogonality``)."""

    split: Split

    def __init__(
        self, options: SplitOptions, feature_dim: int, make_baseline: MakeBaseline, space: ParameterSpace | None = None
    ) -> None:
        split = Split(feature_dim, options.separation_ratio)
        parts = {"IR": slice(0, split.ir_dim), "EF": slice(split.ir_dim, feature_dim)}
        super().__init__(parts, make_baseline, {"EF": options.ef_baseline})
        self.split = split
        self.orthogonality_weight = options.orthogonality_weight

    def forward(
        self,
        student: Encoded,
        teacher: Encoded,
        heads: nn.ModuleDict,
        layers: nn.ModuleDict | None = None,
        views: Sequence[View] = (),
    ) -> dict[str, Term]:
        contrast = self.baseline("IR").attract(student.outputs["IR"], teacher.outputs["IR"])
        orthogonality = self.baseline("EF").similarity(student.outputs["EF"], teacher.outputs["EF"])
        return {"contrast": Term(contrast, 1.0), "orthogonality": Term(orthogonality, self.orthogonality_weight)}
