"""MV-DHEL: alignment of all views, uniformity within each view (Koromilas et al. 2025, code Multi-View-CL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.mv_dhel import MvDhelOptions


class MvDhel(Contrastive):
    """Views of an image attract each other; within each view, images repel each other.

    Global and local views are treated alike, and there may be any number of local views. Recipes:
    workflow/recipes/{cifar10,imagenet100}/mv_dhel.yaml, the authors', which use plain SGD.

    >>> import torch
    >>> from clever.baselines.mv_dhel import MvDhel
    >>> from clever.baselines.options.mv_dhel import MvDhelOptions
    >>> _ = torch.manual_seed(0)
    >>> mv_dhel = MvDhel(MvDhelOptions(hidden_dim=32, out_dim=8))
    >>> head = mv_dhel.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = mv_dhel.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    7.2
    """

    options: MvDhelOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        return multi_view_dhel(gather_projections(student), temperature=self.options.temperature)


def multi_view_dhel(views: Tensor, *, temperature: float) -> Tensor:
    """-1/N sum_i log [sum_{l < m} e^(u_il.u_im / T) / prod_l sum_{j != i} e^(u_il.u_jl / T)].

    From the authors' models/losses.py, MVDHEL; in their README, j includes i.

    Args:
        views: u, [V, N, K] float32 unit vectors; V >= 2, N >= 2.
        temperature: T > 0.
    """
    count, rows, _ = views.shape
    images = views.transpose(0, 1)
    # Select by index: with a mask, the host would have to wait for the device to count its entries.
    first, second = torch.triu_indices(count, count, offset=1, device=views.device)
    positives = scaled_products(images, images, temperature)[:, first, second]
    within = scaled_products(views, views, temperature)
    within = within.masked_fill(torch.eye(rows, dtype=torch.bool, device=views.device), -torch.inf)
    repulsion = torch.logsumexp(within, dim=-1).sum(dim=0)
    return (repulsion - torch.logsumexp(positives, dim=-1)).mean()
