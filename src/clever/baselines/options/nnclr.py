"""Options of NNCLR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class NnclrOptions(BaselineOptions):
    """NNCLR's settings. The paper's are not in the sources we have; the defaults are modest choices of ours."""

    has_momentum_teacher = False
    compares = "predictions"
    accepts_local_views = False

    name: Literal["nnclr"] = "nnclr"
    hidden_dim: PositiveInt = 2048
    """Width of the hidden layers of projector and predictor. Lower it for small backbones."""
    out_dim: PositiveInt = 256
    """Width of projection and prediction."""
    temperature: float = Field(default=0.1, gt=0)
    """Temperature: it divides the cosines. The lower it is, the more weight the nearest negatives get."""
    queue_length: PositiveInt = 4096
    """Number of earlier projections to search for the nearest neighbour. A longer queue holds nearer neighbours but
    also older ones; projections that are a few epochs old, as with small data sets, are too old."""
