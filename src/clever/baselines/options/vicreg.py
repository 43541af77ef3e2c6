"""Options of VICReg."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class VicregOptions(BaselineOptions):
    """VICReg's settings. The weights are the authors' (main_vicreg.py). The widths are the authors' as we remember
    them; our sources do not contain them."""

    views_apart = True

    name: Literal["vicreg"] = "vicreg"
    hidden_dim: PositiveInt = 8192
    """Width of the expander's two hidden layers. solo-learn uses 2048 on CIFAR-10 and ImageNet-100."""
    out_dim: PositiveInt = 8192
    """Width of the embedding, much larger than the representation's. solo-learn uses 2048."""
    invariance_weight: float = Field(default=25.0, ge=0)
    """Weight of the mean squared distance between two views."""
    variance_weight: float = Field(default=25.0, ge=0)
    """Weight of the hinge that keeps every column's standard deviation above 1. Keep it at least as large as
    ``invariance_weight``, or the embedding collapses."""
    covariance_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared covariances between columns."""
    halve_variance: bool = True
    """Average the variance term over the two views, as the authors' code and SIE do. False: sum it, as solo-learn does,
    which is the same as doubling ``variance_weight``; use this to run solo-learn's recipes."""
