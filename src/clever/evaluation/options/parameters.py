"""Options of protocol ``parameters``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from clever.augmentation import AugmentationOptions
from clever.augmentation.options.augmentation import Probability
from clever.evaluation.options.features import ExtractionOptions

Target = Literal[
    "angle",
    "flip",
    "crop_x",
    "crop_y",
    "crop_area",
    "crop_aspect",
    "brightness",
    "contrast",
    "saturation",
    "hue",
]

_ALL_TARGETS: list[Target] = [
    *("angle", "flip"),
    *("crop_x", "crop_y", "crop_area", "crop_aspect"),
    *("brightness", "contrast", "saturation", "hue"),
]


class ParameterViewOptions(AugmentationOptions):
    """The augmentation whose views' parameters are predicted: the paper's caug, without operations that hide a
    parameter.

    Every view is jittered, none loses its colours, and nothing is blurred or solarised. Only the first global view is
    drawn, at the size of the evaluation; settings of other views are ignored.
    """

    jitter_probability: Probability = 1.0
    """Probability of a colour jitter; below 1, the factors of unjittered views are those of no change."""
    grayscale_probability: Probability = 0.0
    """Probability of grayscale, which hides hue and saturation."""
    blur_probability_global_1: Probability = 0.0
    """Probability of a Gaussian blur."""


class ParametersOptions(ExtractionOptions):
    """The views, the parameters to predict, and the regression."""

    augmentation: ParameterViewOptions = ParameterViewOptions()
    """Augmentation of the views, the same for all runs of a study, independent of their training. Set rotation_degrees
    to the range of interest; at 180, both ends give the same image, which no linear map can express."""
    targets: list[Target] = Field(default=_ALL_TARGETS, min_length=1)
    """Targets. ``angle`` in degrees; ``crop_x`` and ``crop_y``, the centre of the crop, and ``crop_area`` as
    shares of the image; ``crop_aspect``, the logarithm of width over height in pixels; the four factors of the jitter;
    and ``flip``. Omit parameters that the augmentation does not change."""
    views: PositiveInt = 1
    """Views per training and test image; use more if there are few images."""
    with_original: bool = False
    """Regress from the concatenated features of the view and the original image, to measure what the pair reveals."""
    equal_width: bool = True
    """Also report the wider of IR and EF, reduced to the width of the narrower one (IR_cut or EF_cut)."""
    penalties: list[PositiveFloat] = Field(default=[1e-6, 1e-4, 1e-2, 1.0, 100.0], min_length=1)
    """Penalties from which the ridge regression's is chosen, for features of standard deviation 1 and an error averaged
    over views."""
    flip_penalty: PositiveFloat = 1e-3
    """Penalty of the logistic regression: half the penalty times the squared weights is added to the mean
    cross-entropy."""

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: list[Target]) -> list[Target]:
        for target in targets:
            if targets.count(target) > 1:
                raise ValueError(f"the target {target!r} is listed twice")
        return targets

    @model_validator(mode="after")
    def _views_survive(self) -> Self:
        if self.averaging and self.averaging.renders:
            raise ValueError(
                f"averaging.augmentation {self.averaging.augmentation.name} renders new images, which removes the "
                "views whose parameters are predicted: choose another augmentation"
            )
        return self
