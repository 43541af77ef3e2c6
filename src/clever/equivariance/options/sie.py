"""Options of SIE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.equivariance.options.equivariance import EquivarianceOptions
from clever.equivariance.options.hypernetwork import Start


class SieOptions(EquivarianceOptions):
    """SIE's settings; the defaults are the authors' for 3DIEBench."""

    name: Literal["sie"] = "sie"
    separation_ratio: float = Field(default=0.5, gt=0, lt=1)
    """Share of the representation that is the IR (the authors: 256 of 512); the rest is the EF."""
    hidden_dim: PositiveInt = 2048
    """Width of the hidden layers of a projector on the whole representation. The EF's projector gets the EF's share of
    this width: 1024 of 2048 at a ratio of 0.5. The width for the IR is set in the baseline's options."""
    out_dim: PositiveInt = 2048
    """Width of the embedding of the whole representation; the EF's embedding gets the EF's share of it."""
    equivariance_weight: float = Field(default=4.5, ge=0)
    """Weight of the squared error of the prediction: 10 times the authors' equi_factor of 0.45. A higher weight makes
    the EF more informative about the transformation."""
    variance_weight: float = Field(default=10.0, ge=0)
    """Weight of the hinge that keeps every column's standard deviation above 1, averaged over the two views. Keep it at
    least as large as ``equivariance_weight``, or the EF may collapse."""
    predicted_variance_weight: float = Field(default=5.0, ge=0)
    """Weight of the same hinge on the prediction; it is half of ``variance_weight`` in the authors' loss. 0 gives their
    variant SIENoVar."""
    covariance_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared covariances between columns, summed over the two views."""
    hypernetwork_start: Start = "equal_length"
    """How the hypernetwork is initialised. equal_length (ours): a predicted embedding is initially as long as the
    embedding. linear: torch's default initialisation of a linear layer, as in the authors' code; on 3DIEBench,
    predictions are then initially nine times as long."""
    moments_of: Literal["EF", "whole"] = "EF"
    """Input of the variance and covariance terms. EF: the EF's embedding. whole: the baseline's projection of the IR
    concatenated with the EF's embedding, so that the halves are decorrelated; with vicreg, and its own variance_weight
    and covariance_weight at 0, this is the authors' loss."""
