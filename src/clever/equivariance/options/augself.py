"""Options of AugSelf."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.equivariance.options.equivariance import EquivarianceOptions


class AugselfOptions(EquivarianceOptions):
    """AugSelf's settings; the defaults follow SIE's comparison."""

    name: Literal["augself"] = "augself"
    augself_weight: float = Field(default=1.0, ge=0)
    """Weight of the prediction. Raise it if loss_augself does not fall."""
    hidden_dim: PositiveInt | None = None
    """Width of the two hidden layers; None uses the input's width, twice the width of the representation. Lower it for
    wide representations: the number of weights in the second layer is the square of this width."""
    both_directions: bool = False
    """Also predict the transformation from the second view to the first, with the same layers, and average the two
    errors. SIE's comparison predicts one direction only; the second direction needs no further pass through the
    backbone."""
