"""Options of VISReg."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.lejepa import GaussianOptions


class VisregOptions(GaussianOptions):
    """VISReg's settings; the defaults are from lightly's VISRegLoss, and the projector is lightly's for LeJEPA."""

    name: Literal["visreg"] = "visreg"
    directions: PositiveInt = 4096
    """Number of random directions per step along which the projections are sorted and compared with a Gaussian's
    quantiles."""
    regulariser_share: float = Field(default=0.9, ge=0, le=1)
    """Share of the regulariser in the loss; the rest is the invariance term. The paper recommends 0.6 for small data
    sets (lightly)."""
    scale_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared difference of every column's standard deviation from 1."""
    shape_weight: float = Field(default=1.0, ge=0)
    """Weight of the distance between sorted values and quantiles."""
    centre_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared mean of every column."""
