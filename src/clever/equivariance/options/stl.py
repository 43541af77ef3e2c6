"""Options of STL."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.equivariance.options.equivariance import EquivarianceOptions
from clever.equivariance.options.hypernetwork import Start


class StlOptions(EquivarianceOptions):
    """STL's settings; the defaults are the authors' for STL-10 with a ResNet-18."""

    name: Literal["stl"] = "stl"
    equivariance_weight: float = Field(default=1.0, ge=0)
    """Weight of the prediction of the transformed features."""
    transformation_weight: float = Field(default=0.1, ge=0)
    """Weight of the agreement between the transformations of two images that share them."""
    temperature: float = Field(default=0.2, gt=0)
    """Temperature of both terms: it divides the cosines."""
    transformation_dim: PositiveInt = 128
    """Width of a transformation's code. The hypernetwork's number of weights is this width times the squared width of
    the representation: 34 million for a ResNet-18, and 537 million for a ResNet-50, for which this width must be
    lowered."""
    hidden_dim: PositiveInt = 512
    """Width of the hidden layer of the projector that projects predicted features."""
    out_dim: PositiveInt = 128
    """Width of the projections that are compared."""
    hypernetwork_start: Start = "linear"
    """How the hypernetwork is initialised. linear: torch's default initialisation of a linear layer, as in the authors'
    code. equal_length: a predicted feature vector is initially as long as its source."""

    @property
    def shared_draws(self) -> int:
        return 2
