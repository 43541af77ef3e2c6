"""Options of SER."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from clever.augmentation import ExtraView, ViewOptions
from clever.augmentation.options.augmentation import Fraction
from clever.backbones import BackboneOptions
from clever.equivariance.options.equivariance import EquivarianceOptions

UPRIGHT, TURNED = "upright", "turned"
"""Names of the two extra views."""


class SerOptions(EquivarianceOptions):
    """SER's settings; weight and layer are the authors' for MoCo v3 with a ViT-Small on ImageNet."""

    name: Literal["ser"] = "ser"
    ser_weight: float = Field(default=1.0, ge=0)
    """Weight of the regulariser: 1 with MoCo v3 and Barlow Twins, 0.3 with DINO. Compare with a run at 0."""
    feature_map: NonNegativeInt = 2
    """Index of the feature map: 2 is the output of a ViT's third block (of 12), or of a ResNet's second stage."""
    temperature: float = Field(default=0.5, gt=0)
    """Temperature: it divides the cosines. The released commands use 0.5 with MoCo v3 and 0.4 with DINO and Barlow
    Twins; notes on the paper give 0.3 and 0.5."""
    images: int = Field(default=16, ge=2)
    """Number of images of each process's batch that are compared; memory grows with its square. The authors use 1 % of
    the batch, which is 3 images on each of 8 GPUs."""
    projector_dim: PositiveInt = 512
    """Width of the cells' projections, and of the projector's hidden layer."""
    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Share of the image's area that the crop covers; colours are drawn as for local views. The authors use 0.25 to 1
    with DINO."""

    def extra_views(self) -> tuple[ExtraView, ...]:
        upright = ExtraView(UPRIGHT, scale=self.crop_scale, colours_only=True)
        return upright, ExtraView(TURNED, scale=self.crop_scale, colours_only=True, crop_of=UPRIGHT)

    def needed_maps(self) -> tuple[int, ...]:
        return (self.feature_map,)

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if backbone.name.startswith("vmamba") or backbone.name == "pixels":
            return f"ser compares intermediate feature maps, and {backbone.name} has none; use a ResNet or a ViT"
        return None
