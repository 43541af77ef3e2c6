"""Options of STAR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.augmentation import ExtraView, ViewOptions
from clever.backbones import BackboneOptions
from clever.baselines import BaselineOptions
from clever.equivariance.options.equivariance import UNAUGMENTED, EquivarianceOptions


class StarOptions(EquivarianceOptions):
    """STAR's settings; the defaults are the authors' for SimCLR with a ResNet-18 on STL-10."""

    name: Literal["star"] = "star"
    star_weight: float = Field(default=1.0, ge=0)
    """Weight of the prediction."""
    experts: PositiveInt = 16
    """Number of experts: 16 for a ResNet-18, 8 for a ResNet-50."""
    temperature: float = Field(default=0.2, gt=0)
    """Temperature of the prediction's NT-Xent: it divides the cosines."""
    predictor_dim: PositiveInt = 512
    """Width of the predictor's two hidden layers. Lower it for small backbones."""

    def extra_views(self) -> tuple[ExtraView, ...]:
        return (ExtraView(UNAUGMENTED),)

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if not views.augments:
            return f"star predicts views from the un-augmented image, and {views.name} has none; use augmented images"
        return None

    def baseline_refusal(self, baseline: BaselineOptions) -> str | None:
        if baseline.compares != "projections":
            return (
                f"star replaces the baseline's projector, and {baseline.name} needs further layers on top of its own; "
                "choose a baseline that compares projections alone, for example simclr, vicreg or moco_v2"
            )
        return None
