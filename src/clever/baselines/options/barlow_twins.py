"""Options of Barlow Twins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class BarlowTwinsOptions(BaselineOptions):
    """Barlow Twins' settings. The weight is the authors' (main.py of their repository). The widths are the authors' as
    we remember them; our sources do not contain them."""

    views_apart = True

    name: Literal["barlow_twins"] = "barlow_twins"
    hidden_dim: PositiveInt = 8192
    """Width of the projector's two hidden layers. solo-learn uses 2048 on CIFAR-10 and ImageNet-100."""
    out_dim: PositiveInt = 8192
    """Width of the projection, much larger than the representation's. solo-learn uses 2048."""
    redundancy_weight: float = Field(default=0.0051, ge=0)
    """Weight of the off-diagonal correlations (lambda). Raise it if you lower ``out_dim`` substantially."""
    scale: float = Field(default=1.0, gt=0)
    """Factor on the whole loss, which grows with ``out_dim``. It sets the weight of the loss relative to other terms
    and, without LARS, the step size. solo-learn uses 0.1 on CIFAR-10 and ImageNet-100."""
