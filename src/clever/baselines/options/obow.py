"""Options of OBoW."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from clever.baselines.momentum import rising_momentum
from clever.baselines.options.baseline import BaselineOptions


class ObowOptions(BaselineOptions):
    """OBoW's settings; the defaults are the authors' for a ResNet-50 on ImageNet."""

    has_momentum_teacher = True
    compares = "scores"
    accepts_local_views = True
    evaluates_teacher = False
    reads_samples = True

    name: Literal["obow"] = "obow"
    feature_maps: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (3, 4)
    """Indices of the feature maps that are described by words, each with a separate vocabulary: 3 and 4 are the outputs
    of a ResNet's last two stages. For a ViT, whose maps are the outputs of its blocks, choose late ones, such as 8 and
    11 of 12."""
    vocabulary: PositiveInt = 8192
    """Number of words per map; the words are the newest local features. Lower it for small data sets."""
    sharpness: float = Field(default=15.0, gt=0)
    """How sharply a cell is assigned to its nearest words, relative to the mean distance. The authors use 10 for a
    ResNet-18."""
    kappa: float = Field(default=8.0, gt=0)
    """Scale kappa of the scores: the generated weights are unit vectors. The authors use 5 for a ResNet-18."""
    hidden_dim: PositiveInt | None = None
    """Width of the hidden layer that generates a word's weights; null: twice the width of the features that the weights
    are multiplied with."""
    momentum: float = Field(default=0.99, ge=0, le=1)
    """Momentum of the teacher at the start; it rises to 1 along a cosine."""

    def needed_maps(self) -> tuple[int, ...]:
        return self.feature_maps

    def teacher_momentum(self, progress: float) -> float:
        return rising_momentum(self.momentum, progress)
