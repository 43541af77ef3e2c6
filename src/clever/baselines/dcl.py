"""DCL and DCLW: decoupled contrastive learning (Yeh et al. 2022, arXiv 2110.06848)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput, two_views
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.dcl import DclOptions, DclwOptions


class Dcl(Contrastive):
    """NT-Xent without the positive in the denominator, which makes small batches sufficient.

    Recipes: workflow/recipes/cifar10/{dcl,dclw}.yaml, lightly's. The gain over SimCLR is largest for small batches
    (raminnakhli's README, ResNet-18 on CIFAR-10: 84.6 against 78.3 with 32 images, 85.36 against 83.26 with 256).

    >>> import torch
    >>> from clever.baselines.dcl import Dcl
    >>> from clever.baselines.options.dcl import DclOptions
    >>> _ = torch.manual_seed(0)
    >>> dcl = Dcl(DclOptions(hidden_dim=32, out_dim=8))
    >>> head = dcl.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = dcl.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    8.1
    """

    options: DclOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = gather_projections(two_views("dcl", student))
        return decoupled(first, second, temperature=self.options.temperature)


class Dclw(Contrastive):
    """DCL with larger weights for less similar positives (a von Mises-Fisher weighting).

    >>> import torch
    >>> from clever.baselines.dcl import Dclw
    >>> from clever.baselines.options.dcl import DclwOptions
    >>> _ = torch.manual_seed(0)
    >>> dclw = Dclw(DclwOptions(hidden_dim=32, out_dim=8))
    >>> head = dclw.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = dclw.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    11.6
    """

    options: DclwOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = gather_projections(two_views("dclw", student))
        weights = mises_fisher_weights(first, second, self.options.sigma)
        return decoupled(first, second, temperature=self.options.temperature, weights=weights)


def decoupled(first: Tensor, second: Tensor, *, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Mean over the 2N views i, with other view i', of -w z_i.z_i' / T + log sum_{k not in {i, i'}} exp(z_i.z_k / T).

    Args:
        first, second: [N, K] float32 unit vectors; equal rows belong to the same image; N >= 2.
        temperature: T > 0.
        weights: w, [N], one per image; None: all 1.

    >>> import torch
    >>> z = torch.eye(4)
    >>> round(decoupled(z, z, temperature=1.0).item(), 4)  # log 6 - 1
    0.7918
    """
    positives = (first * second).sum(dim=-1) / temperature
    both = torch.cat([first, second])
    logits = scaled_products(both, both, temperature)
    same_image = torch.eye(len(first), dtype=torch.bool, device=first.device).repeat(2, 2)
    negatives = torch.logsumexp(logits.masked_fill(same_image, -torch.inf), dim=-1)
    weighted = positives if weights is None else weights * positives
    return negatives.mean() - weighted.mean()


@torch.no_grad()
def mises_fisher_weights(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """w_i = 2 - N softmax_i(z_i.z_i' / sigma), [N], mean 1, without gradient."""
    similarity = (first * second).sum(dim=-1) / sigma
    return 2 - len(first) * torch.softmax(similarity, dim=0)
