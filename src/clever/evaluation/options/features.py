"""Options shared by the protocols that pass the run's images through the backbone."""

from __future__ import annotations

import difflib
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from clever.augmentation import PERTURBATIONS
from clever.evaluation.options.averaging import AveragingOptions
from clever.evaluation.options.protocol import ProtocolOptions


class ImageOptions(ProtocolOptions):
    """Options shared by all protocols that pass the run's images through the backbone."""

    image_size: PositiveInt | None = None
    """Side of the backbone's square input (the paper: 224); omit to use the stored size."""
    resize_size: PositiveInt | None = None
    """Length of the shorter side before the centre crop (the paper: 256); omit if nothing is cropped, as
    for small images."""
    extraction_batch: PositiveInt = 256
    """Images per pass through the backbone; lower it if memory runs out. It affects results only by rounding."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the backbone; bf16 is about twice as fast on a recent GPU."""
    workers: NonNegativeInt = 0
    """Threads that decode a store of encoded images; 0 uses all cores available to the process."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.image_size and self.resize_size and self.resize_size < self.image_size:
            raise ValueError(f"resize_size {self.resize_size} must be at least image_size {self.image_size}")
        return self


class ExtractionOptions(ImageOptions):
    """Options shared by all protocols that work on features of whole splits."""

    averaging: AveragingOptions | None = None
    """Average the feature of every training and test image over random transformations (Foster et al.), applied after
    the protocol's perturbation; omit to use the feature of the image itself."""


class FeatureOptions(ExtractionOptions):
    """Options shared by all protocols that test under perturbations."""

    perturbations: list[str] = Field(default=["orig", "cj", "cj_flip", "cj_rot", "cj_rot_et"], min_length=1)
    """The perturbations to report, including orig for clean images. The default is the paper's set."""
    elastic_reference_size: PositiveInt | None = None
    """Side of the images for which the strengths of the elastic perturbations are defined. Omit to use the strengths in
    pixels at any size (the paper, at 224). Set 224 for small images, to distort them by the same share of their size as
    at 224."""

    @field_validator("perturbations")
    @classmethod
    def _known_once(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PERTURBATIONS:
                nearest = difflib.get_close_matches(name, list(PERTURBATIONS), n=1, cutoff=0.0)[0]
                raise ValueError(f"unknown perturbation {name!r}: did you mean {nearest!r}?")
            if names.count(name) > 1:
                raise ValueError(f"the perturbation {name!r} is listed twice")
        return names

    @model_validator(mode="after")
    def _perturbations_survive(self) -> Self:
        if self.averaging and self.averaging.renders and self.perturbations != ["orig"]:
            raise ValueError(
                f"averaging.augmentation {self.averaging.augmentation.name} renders new images, which removes the "
                "perturbation: set perturbations to [orig]"
            )
        return self
