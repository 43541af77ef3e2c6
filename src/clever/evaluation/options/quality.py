"""Options of protocol ``quality``."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from clever.augmentation import AugmentationOptions
from clever.evaluation.options.features import ImageOptions


class QualityOptions(ImageOptions):
    """The numbers of images and views, and the constants of the measures."""

    images: Annotated[int, Field(ge=8)] = 2000
    """Number of test images, drawn at random; all of them if there are fewer. RankMe's authors use 25,600; above the
    width of the representation, more images change little."""
    lidar_images: Annotated[int, Field(ge=8)] = 500
    """Number of these images that are augmented, at most ``images`` (LiDAR's authors: 1,000 and more)."""
    views: Annotated[int, Field(ge=2)] = 10
    """Augmented views per image (LiDAR's authors: 10 to 50)."""
    augmentation: AugmentationOptions = AugmentationOptions(name="baug", blur_probability_global_1=0.0)
    """Augmentation of these views. Only the first global view is drawn, at the size of the evaluation; settings of
    other views are ignored."""
    alpha_first: PositiveInt = 5
    """Index of the first eigenvalue of the line that alpha-ReQ fits."""
    alpha_last: PositiveInt = 50
    """Index of the last eigenvalue of that line; it ends earlier for a part with fewer eigenvalues."""
    temperature: PositiveFloat = 0.2
    """Temperature of the penalties whose entropy is measured."""

    @model_validator(mode="after")
    def _line_has_points(self) -> Self:
        if self.alpha_last <= self.alpha_first:
            raise ValueError(f"alpha_last {self.alpha_last} must be larger than alpha_first {self.alpha_first}")
        return self
