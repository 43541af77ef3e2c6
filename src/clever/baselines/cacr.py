"""CACR: contrastive attraction and contrastive repulsion (Zheng et al. 2021, arXiv 2105.03746).

The loss follows the authors' small-scale experiments (CACR-SSL:small_scale_experiments/losses/__init__.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.cacr import CacrOptions


class Cacr(Contrastive):
    """Pulls distant positives and pushes near negatives most, measured by the squared distance between unit vectors.

    Global and local views are treated alike; the authors use five views on CIFAR-10.

    >>> import torch
    >>> from clever.baselines.cacr import Cacr
    >>> from clever.baselines.options.cacr import CacrOptions
    >>> _ = torch.manual_seed(0)
    >>> cacr = Cacr(CacrOptions(hidden_dim=32, out_dim=8))
    >>> head = cacr.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = cacr.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    0.4
    """

    options: CacrOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        o = self.options
        attraction, repulsion = attraction_and_repulsion(
            gather_projections(student), o.attraction_temperature, o.repulsion_temperature
        )
        return o.attraction_weight * attraction + o.repulsion_weight * repulsion


def attraction_and_repulsion(views: Tensor, far: float, near: float) -> tuple[Tensor, Tensor]:
    """The two terms, each averaged over images and ordered pairs (v, m) of different views. Gradients flow through the
    weights.

    With d2 = 2 - 2 cos, the attraction of image i in view v is the mean of d2 to the other views of the same image,
    with weights proportional to exp(far d2). Its repulsion from view m is minus the mean of d2 to the other images in
    view m, with weights proportional to exp(-near d2).

    Args:
        views: [V, N, K] float32 unit vectors; V >= 2, N >= 2.
    """
    count, rows, _ = views.shape
    # [V, V, N, N]: image i in view v with image j in view m.
    squared = 2 - 2 * scaled_products(views.unsqueeze(1), views.unsqueeze(0), 1.0)
    same_view = torch.eye(count, dtype=torch.bool, device=views.device).unsqueeze(2)
    same_image = torch.eye(rows, dtype=torch.bool, device=views.device)
    positive = squared.diagonal(dim1=2, dim2=3)
    pull = (far * positive).masked_fill(same_view, -torch.inf).softmax(dim=1)
    push = (-near * squared).masked_fill(same_image, -torch.inf).softmax(dim=3)
    repulsion = -(push * squared).sum(dim=3)
    pairs = count * (count - 1)
    return (pull * positive).sum(dim=1).mean(), repulsion.masked_fill(same_view, 0.0).sum() / (pairs * rows)
