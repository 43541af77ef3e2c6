"""Shared parts of the contrastive methods without a teacher: head, similarity, and logits between all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from clever.baselines.baseline import Baseline, BaselineOptions, Head, HeadOutput
from clever.baselines.cosine import diagnose_cosines, mean_absolute_cosine
from clever.baselines.mlp import FinalNorm, ProjectionHead, make_mlp
from clever.collectives import gather_rows
from clever.errors import UserError


class ProjectorOptions(BaselineOptions):
    """SimCLR's projector, which later contrastive methods also use."""

    hidden_dim: PositiveInt = 2048
    """Width of the projector's hidden layers: that of a ResNet-50's representation, as in E-SSL and EquiMod. Lower it
    for small backbones (lightly: 512 for a ResNet-18 on CIFAR-10)."""
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
    """A projector, and the temperature of the contrast."""

    temperature: float = Field(gt=0)
    """Temperature: it divides the cosines. The lower it is, the more weight the nearest negatives get."""


class Projected(Baseline[ProjectionHead]):
    """A projector without a predictor; projections are compared with those of other images.

    The similarity for the orthogonality term is the absolute value of the batch mean of the cosine between the
    projections of two views of an image, averaged over the pairs of views; both projections receive gradients.
    """

    has_momentum_teacher = False
    accepts_local_views = False

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return mean_absolute_cosine([view.projection for view in student])

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


class Contrastive(Projected):
    """A method with SimCLR's projector."""

    def __init__(self, options: ProjectorOptions) -> None:
        super().__init__()
        self.head_options = options

    def make_head(self, width: int) -> ProjectionHead:
        options = self.head_options
        norm = options.batch_norm_in_head
        final_norm: FinalNorm = ("affine" if options.affine_output else "plain") if norm else "none"
        widths = [width, *[options.hidden_dim] * (options.head_layers - 1), options.out_dim]
        return ProjectionHead(make_mlp(widths, final_norm=final_norm, hidden_norm=norm))


def gather_projections(views: Sequence[HeadOutput]) -> Tensor:
    """The l2-normalised projections of the images of all processes, [V, N, K] in float32, differentiable.

    A contrastive loss over all images is the same in every process, and its gradient equals that of one process with
    all images. Only this function handles several processes.

    Raises:
        UserError: there is only one image, so there are no negatives.
    """
    stacked = torch.stack([gather_rows(F.normalize(view.projection.float(), dim=-1)) for view in views])
    if stacked.shape[1] < 2:
        raise UserError(
            "a contrastive baseline needs at least 2 images in a batch: raise batch_size or lower accumulate"
        )
    return stacked


def scaled_products(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Inner products of all rows of [..., N, K] and [..., M, K], divided by the temperature, [..., N, M].

    Computed in float32 even under autocast: a temperature of 0.1 multiplies bfloat16's rounding errors by ten.
    """
    with torch.autocast(first.device.type, enabled=False):
        return first @ second.transpose(-1, -2) / temperature
