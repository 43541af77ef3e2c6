"""Options of LeJEPA."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class GaussianOptions(BaselineOptions):
    """Projector and directions of LeJEPA and VISReg; the defaults are from lightly's LeJEPA."""

    accepts_local_views = True

    hidden_dim: PositiveInt = 2048
    """Width of the projector's hidden layers. Lower it for small backbones."""
    out_dim: PositiveInt = 64
    """Width of the projection."""
    head_layers: int = Field(default=3, ge=2)
    """Linear layers of the projector; the last has no BatchNorm."""
    directions: PositiveInt = 1024
    """Number of random directions per step along which the distribution of the projections is compared with a Gaussian.
    More directions make the loss less noisy; each costs a product with all projections."""
    regulariser_share: float = Field(ge=0, le=1)
    """Share of the regulariser in the loss; the rest is the invariance."""


class LejepaOptions(GaussianOptions):
    """LeJEPA's settings; the defaults are from lightly's LeJEPALoss, which says that it follows the reference
    implementation."""

    name: Literal["lejepa"] = "lejepa"
    regulariser_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the regulariser in the loss; the rest is the invariance term. The paper explores 0.01 to 0.1
    (lightly)."""
    frequencies: int = Field(default=17, ge=2)
    """Number of frequencies from 0 to ``largest_frequency`` at which the characteristic functions are compared."""
    largest_frequency: float = Field(default=3.0, gt=0)
    """The largest of these frequencies. Higher values compare finer details of the distribution, with more noise."""
