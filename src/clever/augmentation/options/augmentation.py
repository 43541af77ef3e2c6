"""Every coefficient of a training augmentation, with the paper's value as the default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from clever.augmentation.options.views import ViewOptions

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]

Interpolation = Literal["bicubic", "bilinear"]
"""Antialiased filters that resize an image."""

BlurFilter = Literal["pillow", "gaussian"]
"""pillow: the filter of Pillow's ``GaussianBlur``, three extended box blurs. gaussian: a sampled Gaussian."""


class AugmentationOptions(ViewOptions):
    """A training augmentation: two global views and some local ones, each cropped and distorted independently.

    The defaults follow the authors' ``main_dino.py:607-751`` for 224 px ImageNet crops. Studies of small images change
    the sizes, the crop scales, the elastic coefficients and the blur radius.
    """

    name: Literal["baug", "caug", "caug_plus"] = "caug"
    """Which augmentation: baug (no rotation), caug (rotation) or caug_plus (rotation and elastic distortion)."""

    global_size: PositiveInt = 224
    """Side of the two global views in pixels. Set it to the side of the stored images for small images."""
    local_size: PositiveInt = 96
    """Side of the local views in pixels. Keep it at about 3/7 of ``global_size``."""
    local_views: NonNegativeInt = 8
    """Number of local views in addition to the two global ones. 0 for two-view training."""

    global_scale: tuple[Fraction, Fraction] = (0.4, 1.0)
    """Share of the image's area that a global crop covers. Lower the first number when there are no local views."""
    local_scale: tuple[Fraction, Fraction] = (0.05, 0.4)
    """Share of the image's area that a local crop covers."""
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Width over height of a crop, drawn log-uniformly. Rarely changed."""
    interpolation: Interpolation = "bicubic"
    """Antialiased filter that resizes the crop. Use bilinear for baselines whose paper used torchvision's default."""

    flip_probability: Probability = 0.5
    """Probability of a left-right flip. Set 0 if left and right carry meaning (digits)."""

    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 90.0
    """Largest rotation in either direction, in degrees (caug and caug_plus). Change it to study other ranges."""

    rotates_after_blur: bool = False
    """Rotate and distort after the blur, as DDCL does, instead of before the colour jitter. The black corners
    are then neither jittered nor blurred."""

    elastic_probability: Probability = 0.5
    """Probability of an elastic distortion (caug_plus only)."""
    elastic_alpha: NonNegativeFloat = 100.0
    """Strength of the elastic distortion: half of it times the smoothed noise is the shift in pixels. It does not
    depend on the size of the images, so scale it with their size."""
    elastic_sigma: PositiveFloat = 5.0
    """Smoothness of the elastic distortion in pixels. Scale it with the size of the images."""

    jitter_probability: Probability = 0.8
    """Probability of a colour jitter."""
    brightness: NonNegativeFloat = 0.4
    """The brightness factor is drawn from [max(0, 1 - b), 1 + b]. 0 switches it off."""
    contrast: NonNegativeFloat = 0.4
    """The contrast factor is drawn from [max(0, 1 - c), 1 + c]. 0 switches it off."""
    saturation: NonNegativeFloat = 0.2
    """The saturation factor is drawn from [max(0, 1 - s), 1 + s]. 0 switches it off."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """The hue shift is drawn from [-h, h], as a share of the colour circle. 0 switches it off."""
    grayscale_probability: Probability = 0.2
    """Probability of grayscale."""

    blur_probability_global_1: Probability = 1.0
    """Probability of a Gaussian blur in the first global view."""
    blur_probability_global_2: Probability = 0.1
    """Probability of a Gaussian blur in the second global view."""
    blur_probability_local: Probability = 0.5
    """Probability of a Gaussian blur in a local view."""
    blur_radius: tuple[PositiveFloat, PositiveFloat] = (0.1, 2.0)
    """The blur's standard deviation in pixels is drawn from this range. Lower it for small images."""
    blur_filter: BlurFilter = "pillow"
    """pillow: three extended box blurs, as Pillow's GaussianBlur, which the authors and solo-learn use; below a
    standard deviation of 1, it is far from a Gaussian. gaussian: a sampled Gaussian, for baselines whose code blurs
    with torchvision or kornia."""

    solarise_probability: Probability = 0.2
    """Probability of solarisation (inverting bright pixels) in the second global view."""
    solarise_threshold: Annotated[int, Field(ge=0, le=255)] = 128
    """Grey level from which solarisation inverts."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> AugmentationOptions:
        for field in ("global_scale", "local_scale", "crop_ratio", "blur_radius"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field} must be [smaller, larger], not [{low}, {high}]")
        return self

    @property
    def rotates(self) -> bool:
        """Whether the augmentation rotates (caug, caug_plus)."""
        return self.name in ("caug", "caug_plus")

    @property
    def distorts(self) -> bool:
        """Whether the augmentation distorts elastically (caug_plus)."""
        return self.name == "caug_plus"
