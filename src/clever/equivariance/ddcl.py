"""DDCL: the representation is split, and the equivariant factors of two views are made orthogonal.

Distortion-Disentangled Contrastive Learning (arXiv 2303.05066), the predecessor of CLeVER.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.augmentation import ParameterSpace
from clever.backbones.representation import Rounding, Split
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, EquivarianceOptions, Part


class SplitOptions(EquivarianceOptions):
    """Settings of every add-on that splits the representation."""

    separation_ratio: float = Field(default=0.8, gt=0, lt=1)
    """Share of the representation that is the IR (the paper: 0.8); the rest is the EF. The paper's ablation covers 0.5
    to 0.9."""
    split_rounding: Rounding = "truncate"
    """How the width of the IR is rounded. truncate: as CLeVER's authors do. nearest: as DDCL's authors do; it differs
    for a ResNet-18 (410 instead of 409 of 512), not for a ResNet-50."""
    orthogonality_weight: float = Field(default=1.0, ge=0)
    """Weight of the orthogonality between the EFs of two views (the authors' sep_lambd)."""
    ef_baseline: dict[str, int | float | bool | str] = Field(default={})
    """Baseline options to override on the EF, e.g. {out_dim: 16384} for the authors' DVR_out_dim ablation."""


class DdclOptions(SplitOptions):
    """DDCL's settings."""

    name: Literal["ddcl"] = "ddcl"


class Ddcl(Equivariance):
    """Attraction on the IR (``contrast``), and the same baseline's similarity on the EF, minimised to zero
    (``orthogonality``)."""

    def __init__(self, options: DdclOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(*ir_and_ef(options, feature_dim))
        self.options = options

    def terms(self, batch: Batch) -> dict[str, Term]:
        return contrast(batch, "IR") | orthogonality(batch, self.options.orthogonality_weight)


def ir_and_ef(options: SplitOptions, feature_dim: int) -> tuple[dict[str, Part], Split]:
    """The two parts, each with a head, and the split that defines them."""
    split = Split(feature_dim, options.separation_ratio, options.split_rounding)
    ef = Part(slice(split.ir_dim, feature_dim), options.ef_baseline)
    return {"IR": Part(slice(0, split.ir_dim)), "EF": ef}, split


def orthogonality(batch: Batch, weight: float) -> dict[str, Term]:
    """The similarity of the EFs of two views, which training drives to zero."""
    return {"orthogonality": Term(batch.parts["EF"].similarity(), weight)}
