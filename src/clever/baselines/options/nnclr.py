"""Options of NNCLR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class NnclrOptions(BaselineOptions):
    """NNCLR's settings. Our sources do not contain the paper's settings; the defaults are our own, modest choices."""

    compares = "predictions"

    name: Literal["nnclr"] = "nnclr"
    hidden_dim: PositiveInt = 2048
    """Width of the hidden layers of the projector and the predictor. Lower it for small backbones."""
    out_dim: PositiveInt = 256
    """Width of the projection and the prediction."""
    temperature: float = Field(default=0.1, gt=0)
    """Temperature: it divides the cosines. The lower it is, the more weight the nearest negatives get."""
    queue_length: PositiveInt = 4096
    """Number of earlier projections to search for the nearest neighbour. A longer queue holds nearer but also older
    neighbours. On a small data set, keep it short: projections from several epochs ago are too old."""
