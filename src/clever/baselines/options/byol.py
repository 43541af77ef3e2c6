"""Options of BYOL."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.momentum import rising_momentum
from clever.baselines.options.baseline import BaselineOptions


class ByolOptions(BaselineOptions):
    """BYOL's settings; the defaults are from EquiMod's BYOL (branch BYOL+EquiMod), because our sources do not contain
    the paper's."""

    has_momentum_teacher = True
    compares = "predictions"
    views_apart = True
    evaluates_teacher = False

    name: Literal["byol"] = "byol"
    hidden_dim: PositiveInt = 4096
    """Width of the hidden layer of the projector. Lower it for small backbones."""
    out_dim: PositiveInt = 256
    """Width of the projection and the prediction."""
    predictor_dim: PositiveInt | None = None
    """Width of the predictor's hidden layer; null uses ``hidden_dim``. solo-learn's ImageNet-100 recipe uses 8192."""
    momentum: float = Field(default=0.996, ge=0, le=1)
    """Momentum of the teacher at the start; it rises to 1 along a cosine. Lower it for short runs: solo-learn uses 0.99
    on CIFAR-10 and ImageNet-100."""

    def teacher_momentum(self, progress: float) -> float:
        return rising_momentum(self.momentum, progress)
