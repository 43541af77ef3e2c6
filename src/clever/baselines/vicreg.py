"""VICReg: variance, invariance, covariance (Bardes, Ponce and LeCun 2022, arXiv 2105.04906)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.cosine import diagnose_cosines, mean_absolute_cosine
from clever.baselines.decorrelation import off_diagonal_energy
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.vicreg import VicregOptions
from clever.collectives import gather_rows
from clever.errors import UserError


class Vicreg(Baseline[ProjectionHead]):
    """Makes the embeddings of two views agree, while every column keeps its variance and columns are decorrelated.

    The similarity for the orthogonality term is the absolute value of the batch mean of the cosine between the
    embeddings of the two views; both receive gradients.

    Recipes: workflow/recipes/{cifar10,imagenet100}/vicreg.yaml, solo-learn's. Our sources do not contain the authors'
    recipe for ImageNet.

    >>> import torch
    >>> from clever.baselines.options.vicreg import VicregOptions
    >>> from clever.baselines.vicreg import Vicreg
    >>> _ = torch.manual_seed(0)
    >>> vicreg = Vicreg(VicregOptions(hidden_dim=32, out_dim=8))
    >>> head = vicreg.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = vicreg.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    22.6
    """

    options: VicregOptions

    def make_head(self, width: int) -> ProjectionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        return ProjectionHead(make_mlp([width, hidden, hidden, out], final_bias=False))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = (gather_rows(view.projection.float()) for view in two_views("vicreg", student))
        if len(first) < 2:
            raise UserError("vicreg needs at least 2 images in a batch: raise batch_size or lower accumulate")
        options = self.options
        variance = variance_hinge(first) + variance_hinge(second)
        return (
            options.invariance_weight * F.mse_loss(first, second)
            + options.variance_weight * variance * (0.5 if options.halve_variance else 1.0)
            + options.covariance_weight * (covariance(first) + covariance(second))
        )

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return mean_absolute_cosine([view.projection for view in two_views("vicreg", student)])

    @torch.no_grad()
    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        """The usual scalars, and the mean standard deviation of the embedding's columns: 1 if the hinge holds, 0 at
        collapse."""
        return dict(diagnose_cosines(student)) | {
            "embedding_deviation": student[0].projection.float().std(dim=0).mean()
        }


def variance_hinge(vectors: Tensor) -> Tensor:
    """Mean over the columns of [N, D] of max(0, 1 - sqrt(Var + 1e-4)), with the unbiased variance; N >= 2.

    >>> import torch
    >>> round(variance_hinge(torch.zeros(8, 3)).item(), 2)  # 1 - sqrt(1e-4)
    0.99
    """
    return F.relu(1 - torch.sqrt(vectors.var(dim=0) + 1e-4)).mean()


def covariance(vectors: Tensor) -> Tensor:
    """The sum of the squared off-diagonal entries of the columns' unbiased covariance, divided by D, for [N, D], N >=
    2."""
    count, width = vectors.shape
    centred = vectors - vectors.mean(dim=0)
    return off_diagonal_energy(centred, centred) / ((count - 1) ** 2 * width)
