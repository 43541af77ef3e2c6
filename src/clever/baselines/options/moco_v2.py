"""Options of MoCo v2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines.momentum import rising_momentum
from clever.baselines.options.baseline import BaselineOptions


class QueueOptions(BaselineOptions):
    """Settings of MoCo v2 and of the methods that add negatives to it; the defaults are solo-learn's for a ResNet-18 on
    CIFAR-10, except for ``final_momentum``."""

    has_momentum_teacher = True
    views_apart = True
    evaluates_teacher = False

    hidden_dim: PositiveInt = 2048
    """Width of the projector's hidden layer: in the paper, the width of a ResNet-50's representation. Lower it for
    small backbones."""
    out_dim: PositiveInt = 256
    """Width of the projection. The paper uses 128."""
    temperature: float = Field(default=0.2, gt=0)
    """Temperature: it divides the cosines. The lower it is, the more weight the nearest negatives get."""
    queue_length: PositiveInt = 32768
    """Number of earlier keys that serve as negatives. The paper uses 65,536 on ImageNet; keep it below the size of the
    data set, so that an image's own earlier keys are rare."""
    momentum: float = Field(default=0.99, ge=0, le=1)
    """Momentum of the teacher at the start."""
    final_momentum: float = Field(default=1.0, ge=0, le=1)
    """Momentum of the teacher at the end, reached along a cosine. solo-learn uses 0.999 on CIFAR-10; the paper keeps
    0.999 constant: for that, set both to 0.999."""
    symmetric: bool = True
    """True: each view is the query once, as in MoCo V2+. False: the first view is the query and the second one the key,
    as in the paper."""
    key_groups: PositiveInt = 1
    """Shuffled BatchNorm: the number of random groups into which the batch is divided before the teacher encodes it.
    Each group has its own BatchNorm statistics, as if it were on a separate GPU, so that a query cannot recognise its
    key by the statistics. 1: no shuffling, as in solo-learn, whose processes share all statistics. The number of images
    must be a multiple of this number."""

    def refusal(self, images: int) -> str | None:
        if images % self.key_groups or images == self.key_groups:
            return (
                f"{self.name} encodes keys in {self.key_groups} groups, and {images} images do not divide into "
                "groups of at least 2; change key_groups or batch_size"
            )
        return None

    def teacher_momentum(self, progress: float) -> float:
        start, end = self.momentum, self.final_momentum
        # The completed share of the cosine: 0 at the start, 1 at the end.
        return start + (end - start) * rising_momentum(0.0, progress)


class MocoV2Options(QueueOptions):
    """MoCo v2's settings."""

    name: Literal["moco_v2"] = "moco_v2"
