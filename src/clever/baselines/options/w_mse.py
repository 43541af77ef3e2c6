"""Options of W-MSE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from clever.baselines.options.baseline import BaselineOptions


class WMseOptions(BaselineOptions):
    """W-MSE's settings; the defaults are the authors' for CIFAR-10 (htdt/self-supervised, d9662c8)."""

    accepts_local_views = True

    name: Literal["w_mse"] = "w_mse"
    hidden_dim: PositiveInt = 1024
    """Width of the projector's hidden layer. Lower it for small backbones."""
    out_dim: PositiveInt = 64
    """Width of the projection: 64 on CIFAR, 128 on STL-10, Tiny-ImageNet and ImageNet-100."""
    whitening_size: PositiveInt = 128
    """Number of images that are whitened together: twice the width of the projection, so that their covariance is well
    conditioned. The batch size must be a multiple of it."""
    whitening_iterations: PositiveInt = 1
    """Number of random partitions of the batch into such groups, over which the loss is averaged. The authors use 4 on
    STL-10 and Tiny-ImageNet."""
    whitening_shrinkage: float = Field(default=0.0, ge=0, lt=1)
    """Share of the identity matrix that is mixed into every covariance. Raise it when training stops with a non-finite
    loss."""
    channel_groups: PositiveInt = 1
    """Number of random groups of columns that are whitened separately. Values above 1 give shuffled group whitening
    (WhitenedCSE). It was published for text only; the image version, with Cholesky instead of ZCA whitening, is
    ours."""

    @model_validator(mode="after")
    def _covariances_have_full_rank(self) -> WMseOptions:
        if self.out_dim % self.channel_groups:
            raise ValueError(f"out_dim {self.out_dim} is not a multiple of channel_groups {self.channel_groups}")
        width = self.out_dim // self.channel_groups
        if not self.whitening_shrinkage and self.whitening_size <= width:
            raise ValueError(
                f"whitening_size {self.whitening_size} must exceed the {width} columns that are whitened together: "
                "raise it, lower out_dim, or set whitening_shrinkage"
            )
        return self

    def refusal(self, images: int) -> str | None:
        if images % self.whitening_size:
            return (
                f"w_mse whitens groups of {self.whitening_size} images, and {images} images are not a multiple of it; "
                "change whitening_size or batch_size"
            )
        return None
