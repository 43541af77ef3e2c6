"""Options of DINO."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class DinoOptions(BaselineOptions):
    """DINO's settings; the defaults are the paper's (authors' main_dino.py:50-130, run.sh)."""

    has_momentum_teacher = True
    compares = "scores"
    accepts_local_views = True

    name: Literal["dino"] = "dino"
    out_dim: PositiveInt = 65536
    """Width of the head's output, K. Lower it for smaller data sets: 65536 for ImageNet, 4096 for CIFAR-10, 1024 for
    smaller ones."""
    hidden_dim: PositiveInt = 2048
    """Width of the head's two hidden layers. Lower it only for tiny backbones."""
    bottleneck_dim: PositiveInt = 256
    """Width of the normalised bottleneck before the last layer."""
    batch_norm_in_head: bool = False
    """BatchNorm after both hidden layers (DINO's use_bn_in_head). The paper uses none; turn it on for short runs on
    small images, which otherwise collapse to the uniform distribution."""
    student_temperature: float = Field(default=0.1, gt=0)
    """Temperature of the student's softmax."""
    teacher_temperature: float = Field(default=0.04, gt=0)
    """Temperature of the teacher's softmax; raise it (up to 0.07) when a long run stops improving."""
    warmup_teacher_temperature: float = Field(default=0.04, gt=0)
    """Initial temperature of the teacher; lower it when the loss does not fall in the first epochs."""
    warmup_teacher_epochs: int = Field(default=0, ge=0)
    """Epochs over which the teacher's temperature rises linearly from its warm-up value."""
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the centre; use a value closer to 1 for small batches."""
    momentum: float = Field(default=0.996, ge=0, le=1)
    """Momentum of the teacher at the start; it rises to 1 along a cosine. Use a value closer to 1 for small batches."""
    freeze_last_layer_epochs: int = Field(default=1, ge=0)
    """Number of epochs at the start in which the last layer is frozen; raise it when the loss does not fall."""

    def teacher_momentum(self, progress: float) -> float:
        """Cosine from ``momentum`` at 0 to 1 at 1 (authors' main_dino.py:329, utils.py:206-217)."""
        return 1 - (1 - self.momentum) * 0.5 * (1 + math.cos(math.pi * progress))
