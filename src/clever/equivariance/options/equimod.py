"""Options of EquiMod."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from clever.augmentation import ExtraView, ViewOptions
from clever.backbones import BackboneOptions
from clever.equivariance.options.equivariance import UNAUGMENTED, EquivarianceOptions


class EquimodOptions(EquivarianceOptions):
    """EquiMod's settings; the defaults are the authors' for SimCLR, on CIFAR-10 and ImageNet.

    Both of their projectors have three layers and end with a BatchNorm without scale and shift. To match them, give the
    baseline ``simclr`` the options ``head_layers: 3`` and ``affine_output: false``.
    """

    name: Literal["equimod"] = "equimod"
    source: Literal["unaugmented", "other_view"] = "unaugmented"
    """Source of the prediction of a view's embedding. unaugmented: the un-augmented image, which must also be encoded,
    and the view's parameters. other_view: the first view and the relative transformation predict the second view;
    choose it for rendered or photographed views, which have no un-augmented image."""
    both_directions: bool = False
    """With other_view, whether the second view also predicts the first. SIE's comparison predicts one direction
    only."""
    equimod_weight: float = Field(default=1.0, ge=0)
    """Weight of the prediction (the authors' lambda)."""
    temperature: float = Field(default=0.2, gt=0)
    """Temperature of the prediction's NT-Xent: it divides the cosines. SIE's comparison uses 0.1."""
    hidden_dim: PositiveInt = 2048
    """Width of the projector's two hidden layers. Lower it for small backbones."""
    out_dim: PositiveInt = 128
    """Width of the embeddings. SIE's comparison uses 2048."""
    parameter_dim: PositiveInt = 128
    """Width of the embedding of the parameters, which is an input of the predictor."""

    @model_validator(mode="after")
    def _directions_fit_the_source(self) -> EquimodOptions:
        if self.both_directions and self.source != "other_view":
            raise ValueError(
                f"both_directions needs source: other_view; source: {self.source} already predicts both views"
            )
        return self

    def extra_views(self) -> tuple[ExtraView, ...]:
        return (ExtraView(UNAUGMENTED),) if self.source == "unaugmented" else ()

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if self.source == "unaugmented" and not views.augments:
            return (
                f"equimod predicts views from the un-augmented image, and {views.name} has none; set "
                "equivariance.source to other_view"
            )
        return None
