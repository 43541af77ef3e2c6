"""Options of Foster et al.'s gradient regulariser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.augmentation import ViewOptions
from clever.backbones import BackboneOptions
from clever.equivariance.options.equivariance import EquivarianceOptions


class GradientOptions(EquivarianceOptions):
    """Settings of the gradient regulariser; the defaults are the authors' for CIFAR.

    Their projector ends with a BatchNorm without scale and shift. To match it, give the baseline ``simclr`` the option
    ``affine_output: false``.
    """

    name: Literal["gradient"] = "gradient"
    gradient_weight: float = Field(default=0.1, ge=0)
    """Weight of the regulariser (the authors' lambda): 0.1 on CIFAR, 0.01 on Spirograph."""
    upper_limit: float = Field(default=1.0, gt=0)
    """Upper limit of the regulariser, with no gradient above it: 1 on CIFAR, 1000 on Spirograph. Raise it if
    loss_gradient is at the limit from the start."""
    draws: PositiveInt = 100
    """Number of independent draws of the parameters per image and step. Each draw costs only a dot product."""
    unit_features: bool = True
    """Regularise the l2-normalised features; false regularises the unnormalised features (--no-gp-normalization)."""

    @property
    def redraws(self) -> int:
        return self.draws

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if backbone.name.startswith("vmamba"):
            return "gradient differentiates twice; VMamba's selective scan does not support that; use a ResNet or a ViT"
        if views.pairs:
            return "gradient needs differentiable views, and photographs are not differentiable; use another add-on"
        return None
