"""Options of CARE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.augmentation import ExtraView
from clever.augmentation.options.augmentation import Fraction
from clever.equivariance.options.equivariance import EquivarianceOptions

COPIES = "chunk_1", "chunk_2"


class CareOptions(EquivarianceOptions):
    """CARE's settings; the defaults are the authors' for CIFAR-10 with batches of 256 images, except for
    ``crop_scale``, which our sources do not contain."""

    name: Literal["care"] = "care"
    care_weight: float = Field(default=0.03, ge=0)
    """Weight of the equivariance: 0.03 on CIFAR-10, 0.001 on CIFAR-100, 0.01 on STL-10 and 0.005 on ImageNet-100. It
    grows with the size of a chunk, because the term is a sum over the other images of a chunk."""
    images_per_chunk: int = Field(default=16, ge=2)
    """Number of consecutive images of a batch that share a transformation: the authors cut 256 images into 16 chunks on
    CIFAR-10, 4 on CIFAR-100, 8 on STL-10, and 64 images per GPU into 4 on ImageNet-100."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Share of the image's area that the crops of the two copies cover; all other parameters are drawn as for local
    views."""

    def extra_views(self) -> tuple[ExtraView, ...]:
        return tuple(ExtraView(name, scale=self.crop_scale, shared_draws=self.images_per_chunk) for name in COPIES)
