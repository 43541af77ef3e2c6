"""Shared parts of the contrastive methods without a teacher: head, similarity, and logits between all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput
from clever.baselines.cosine import diagnose_cosines, mean_absolute_cosine
from clever.baselines.mlp import FinalNorm, ProjectionHead, make_mlp
from clever.baselines.options.contrast import ProjectorOptions
from clever.collectives import gather_rows
from clever.errors import UserError


class Projected(Baseline[ProjectionHead]):
    """A projector without a predictor; the loss compares projections of different images.

    The similarity for the orthogonality term is the absolute value of the batch mean of the cosine between the
    projections of two views of an image, averaged over the pairs of views; both projections receive gradients.
    """

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return mean_absolute_cosine([view.projection for view in student])

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


class Contrastive(Projected):
    """A method with SimCLR's projector."""

    options: ProjectorOptions

    def make_head(self, width: int) -> ProjectionHead:
        options = self.options
        norm = options.batch_norm_in_head
        final_norm: FinalNorm = ("affine" if options.affine_output else "plain") if norm else "none"
        widths = [width, *[options.hidden_dim] * (options.head_layers - 1), options.out_dim]
        return ProjectionHead(make_mlp(widths, final_norm=final_norm, hidden_norm=norm))


def gather_projections(views: Sequence[HeadOutput]) -> Tensor:
    """The l2-normalised projections of the images of all processes, [V, N, K] in float32, differentiable.

    A contrastive loss over all images has the same value in every process, and its gradient equals the gradient of a
    single process with all images. This is the only function here that handles several processes.

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
    """Inner products [..., N, M] of all rows of [..., N, K] and [..., M, K], divided by the temperature.

    Computed in float32 even under autocast: a temperature of 0.1 multiplies bfloat16's rounding errors by ten.
    """
    with torch.autocast(first.device.type, enabled=False):
        return first @ second.transpose(-1, -2) / temperature
