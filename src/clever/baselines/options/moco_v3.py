"""Options of MoCo v3."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.momentum import rising_momentum
from clever.baselines.options.baseline import BaselineOptions


class MocoV3Options(BaselineOptions):
    """MoCo v3's settings; the defaults are solo-learn's for a ResNet-18 on CIFAR-10 and ImageNet-100."""

    has_momentum_teacher = True
    compares = "predictions"
    views_apart = True
    evaluates_teacher = False

    name: Literal["moco_v3"] = "moco_v3"
    hidden_dim: PositiveInt = 4096
    """Width of the hidden layers of the projector and the predictor. Lower it for small backbones."""
    out_dim: PositiveInt = 256
    """Width of the projection and the prediction."""
    projector_layers: PositiveInt = 2
    """Linear layers of the projector: 2 for a ResNet, 3 for a ViT (solo-learn's solo/methods/mocov3.py)."""
    predictor_batch_norm: bool = False
    """BatchNorm after the predictor's last layer: only for a ViT (solo-learn's solo/methods/mocov3.py)."""
    temperature: float = Field(default=0.2, gt=0)
    """Temperature: it divides the cosines. solo-learn uses 0.2; our sources do not contain the authors' value for a
    ResNet-50."""
    momentum: float = Field(default=0.99, ge=0, le=1)
    """Momentum of the teacher at the start; it rises to 1 along a cosine. Use a value closer to 1 for long runs."""

    def teacher_momentum(self, progress: float) -> float:
        return rising_momentum(self.momentum, progress)
