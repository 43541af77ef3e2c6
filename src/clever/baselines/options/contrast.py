"""Options that the contrastive methods share."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class ProjectorOptions(BaselineOptions):
    """SimCLR's projector, which later contrastive methods also use."""

    hidden_dim: PositiveInt = 2048
    """Width of the projector's hidden layers: the width of a ResNet-50's representation, as in E-SSL and EquiMod. Lower
    it for small backbones (lightly: 512 for a ResNet-18 on CIFAR-10)."""
    out_dim: PositiveInt = 128
    """Width of the projection. solo-learn uses 256 on CIFAR-10 and 512 on ImageNet-100."""
    head_layers: PositiveInt = 2
    """Linear layers of the projector: 2 in solo-learn and lightly, 3 in EquiMod and E-SSL's ImageNet recipe."""
    batch_norm_in_head: bool = True
    """BatchNorm after every layer of the projector, as in E-SSL and lightly. solo-learn has none."""
    affine_output: bool = True
    """Whether the BatchNorm after the projector's last layer has a learned scale and shift, as in lightly. False: as in
    the projectors of E-SSL, EquiMod and InvCLR."""


class ContrastiveOptions(ProjectorOptions):
    """A projector, and the temperature of the contrastive loss."""

    temperature: float = Field(gt=0)
    """Temperature: it divides the cosines. The lower it is, the more weight the nearest negatives get."""
