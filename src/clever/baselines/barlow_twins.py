"""Barlow Twins: redundancy reduction (Zbontar et al. 2021, arXiv 2103.03230)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.cosine import diagnose_cosines
from clever.baselines.decorrelation import diagonal_products, off_diagonal_energy, standardise
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.barlow_twins import BarlowTwinsOptions
from clever.collectives import gather_rows
from clever.errors import UserError


class BarlowTwins(Baseline[ProjectionHead]):
    """Drives the cross-correlation matrix of two views' projections to the identity.

    The similarity for the orthogonality term follows the loss: it is the absolute value of the mean diagonal entry of
    the cross-correlation matrix. This equals the batch mean of the inner product of the standardised projections,
    divided by their width. Shifting or scaling a column does not change it.

    Recipes: workflow/recipes/{cifar10,imagenet100}/barlow_twins.yaml, solo-learn's. Our sources do not contain the
    authors' recipe for ImageNet.

    >>> import torch
    >>> from clever.baselines.barlow_twins import BarlowTwins
    >>> from clever.baselines.options.barlow_twins import BarlowTwinsOptions
    >>> _ = torch.manual_seed(0)
    >>> barlow_twins = BarlowTwins(BarlowTwinsOptions(hidden_dim=32, out_dim=8))
    >>> head = barlow_twins.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = barlow_twins.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    9.2
    """

    options: BarlowTwinsOptions

    def make_head(self, width: int) -> ProjectionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        return ProjectionHead(make_mlp([width, hidden, hidden, out], final_bias=False))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = _gathered(student)
        return self.options.scale * barlow_twins(first, second, redundancy_weight=self.options.redundancy_weight)

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        first, second = (standardise(view) for view in _gathered(student))
        return diagonal_products(first, second).mean().abs() / len(first)

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


def barlow_twins(first: Tensor, second: Tensor, *, redundancy_weight: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2, where C is the cross-correlation of the columns over the batch.

    Args:
        first, second: [N, D] float32, not normalised; equal rows belong to the same image.
        redundancy_weight: lambda.

    >>> import torch
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # uncorrelated columns
    >>> round(barlow_twins(z, z, redundancy_weight=0.005).item(), 3)
    0.0
    >>> round(barlow_twins(z, -z, redundancy_weight=0.005).item(), 3)  # (1 + 1)^2 for each of two columns
    8.0
    """
    first, second = standardise(first), standardise(second)
    count = len(first)
    invariance = (1 - diagonal_products(first, second) / count).square().sum()
    return invariance + redundancy_weight * off_diagonal_energy(first, second) / count**2


def _gathered(student: Sequence[HeadOutput]) -> tuple[Tensor, Tensor]:
    first, second = (gather_rows(view.projection.float()) for view in two_views("barlow_twins", student))
    if len(first) < 2:
        raise UserError("barlow_twins needs at least 2 images in a batch: raise batch_size or lower accumulate")
    return first, second
