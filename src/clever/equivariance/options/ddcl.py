"""Options of DDCL."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.backbones.representation import Rounding
from clever.equivariance.options.equivariance import EquivarianceOptions


class SplitOptions(EquivarianceOptions):
    """Settings of every add-on that splits the representation."""

    separation_ratio: float = Field(default=0.8, gt=0, lt=1)
    """Share of the representation that is the IR (the paper: 0.8); the rest is the EF. The paper's ablation covers 0.5
    to 0.9."""
    split_rounding: Rounding = "truncate"
    """How the width of the IR is rounded. truncate: round down, as CLeVER's authors do. nearest: as DDCL's authors do;
    the result differs for a ResNet-18 (410 instead of 409 of 512), but not for a ResNet-50."""
    orthogonality_weight: float = Field(default=1.0, ge=0)
    """Weight of the orthogonality between the EFs of two views (the authors' sep_lambd)."""
    joint_entropy_weight: float = Field(default=0.0, ge=0)
    """Weight of SepCLR's joint-entropy term between IR and EF. 0 omits the term, as in the paper: it is our addition.
    SepCLR uses 10, but in another setting and on the outputs of two heads."""
    joint_entropy_temperature: float = Field(default=0.5, gt=0)
    """Temperature T of the joint-entropy term's kernel exp(-d^2 / (2 T)): 0.5 in SepCLR."""
    ef_baseline: dict[str, int | float | bool | str] = Field(default={})
    """Baseline options to override on the EF, for example {out_dim: 16384} for the authors' DVR_out_dim ablation."""


class DdclOptions(SplitOptions):
    """DDCL's settings."""

    name: Literal["ddcl"] = "ddcl"
