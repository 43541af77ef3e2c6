"""Options of Core-tuning (see :mod:`clever.evaluation.core_tuning`)."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from clever.options import Options


class CoreTuningOptions(Options):
    """Core-tuning's settings; the defaults are the authors' for CIFAR-10."""

    weight: float = Field(default=0.1, ge=0)
    """Weight of the contrastive term between classes: 0.1 in the authors' command for CIFAR-10, 10 by default in their
    program."""
    temperature: PositiveFloat = 0.07
    """Temperature: it divides the cosines."""
    projection_dim: PositiveInt = 256
    """Width of the projection for the contrastive term; its hidden layer is as wide as the features."""
    least_share: float = Field(default=0.8, ge=0, le=1)
    """Smallest share of the random partner in a hard negative."""
