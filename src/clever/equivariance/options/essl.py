"""Options of E-SSL."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from clever.augmentation import AugmentationOptions, ExtraView, ViewOptions
from clever.augmentation.options.augmentation import Fraction
from clever.backbones import BackboneOptions
from clever.equivariance.options.equivariance import EquivarianceOptions

CROP = "small_crop"
"""Name of the extra view."""

GroupName = Literal["rotation", "horizontal_flip", "vertical_flip", "translation", "grayscale", "colour_inversion"]


class EsslOptions(EquivarianceOptions):
    """E-SSL's settings; the defaults are the authors' for SimCLR on CIFAR-10.

    Their projector ends with a BatchNorm without scale and shift. To match it, give the baseline ``simclr`` the option
    ``affine_output: false``.
    """

    name: Literal["essl"] = "essl"
    essl_weight: float = Field(default=0.4, ge=0)
    """Weight of the prediction (the authors' lambda): 0.4 with SimCLR on CIFAR-10 and ImageNet; on ImageNet, 0.08 with
    SimSiam and 8 with Barlow Twins."""
    transformations: GroupName = "rotation"
    """The group of transformations to distinguish: four-fold rotation (4 classes), a left-right flip, an upside-down
    flip, half-period translations in both directions (4), grayscale, or colour inversion. Choose one that the
    augmentation does not apply itself: caug and caug_plus already rotate."""
    crop_size: PositiveInt = 16
    """Side in pixels of the small crop: half of the global views on CIFAR-10 (16 of 32), 96 of 224 on ImageNet. Scale
    it with the size of the images. Its four rotations then cost about one global view."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Share of the image's area that the small crop covers; all other parameters are drawn as for local views. The
    authors also use [0.05, 0.14] and [0.08, 1.0] on ImageNet."""
    hidden_dims: tuple[PositiveInt, ...] = Field(default=(2048, 2048), min_length=1)
    """Widths of the head's hidden layers. On ImageNet, the authors use [2048, 2048, 128] with SimCLR, and [2048, 2048,
    256] with SimSiam and Barlow Twins. Lower them for small backbones."""
    relu_before_output: bool = True
    """Whether a ReLU precedes the head's last layer. The authors use one with SimCLR on CIFAR-10, and none with SimSiam
    and on ImageNet."""

    @field_validator("crop_scale")
    @classmethod
    def _scale_ascends(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"crop_scale must be [smaller, larger], not [{scale[0]}, {scale[1]}]")
        return scale

    @model_validator(mode="after")
    def _half_a_crop_is_whole_pixels(self) -> EsslOptions:
        if self.transformations == "translation" and self.crop_size % 2:
            raise ValueError(f"translation moves images by half a crop: crop_size must be even, not {self.crop_size}")
        return self

    def extra_views(self) -> tuple[ExtraView, ...]:
        return (ExtraView(CROP, size=self.crop_size, scale=self.crop_scale),)

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if not isinstance(views, AugmentationOptions):
            return None  # it makes no extra views, which another check reports
        drawn = {"horizontal_flip": "flip_probability", "grayscale": "grayscale_probability"}.get(self.transformations)
        if drawn and getattr(views, drawn) > 0:
            return (
                f"essl cannot distinguish its {self.transformations} from that of the augmentation; set the "
                f"augmentation's {drawn} to 0"
            )
        return None
