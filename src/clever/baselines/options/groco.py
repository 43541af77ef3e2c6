"""Options of GroCo."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class GrocoOptions(BaselineOptions):
    """GroCo's settings; the defaults are the authors' for ImageNet. Our sources do not say whether their projector ends
    with a BatchNorm; ours does not."""

    accepts_local_views = True

    name: Literal["groco"] = "groco"
    hidden_dim: PositiveInt = 2048
    """Width of the projector's two hidden layers. Lower it for small backbones."""
    out_dim: PositiveInt = 2048
    """Width of the projection."""
    hardest: PositiveInt = 10
    """Number of negatives per image: the nearest ones in the same view, or fewer if the batch is smaller. The sorting
    network has as many layers as there are positives and negatives."""
    steepness: float = Field(default=1.0, gt=0)
    """Sharpness of the network's swaps. Higher values approach exact sorting, with smaller gradients for values that
    are far apart."""
