"""Options of MV-InfoNCE."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.baselines.options.contrast import ContrastiveOptions

Denominator = Literal["other_views", "everything"]


class MvInfonceOptions(ContrastiveOptions):
    """MV-InfoNCE's settings; the defaults are the authors' for CIFAR-10 and ImageNet-100."""

    accepts_local_views = True

    name: Literal["mv_infonce"] = "mv_infonce"
    temperature: float = Field(default=0.5, gt=0)
    """Temperature: it divides the cosines. The authors use 0.5 for 200 epochs of CIFAR-10 or ImageNet-100, 0.1 for
    ImageNet-1k."""
    denominator: Denominator = "everything"
    """The negatives of a view. everything: all V N - 1 other views, including the same view of other images, as in the
    authors' code (models/losses.py, MVINFONCE), which produced their numbers. other_views: all other views of all
    images, as in the formula of their README."""
