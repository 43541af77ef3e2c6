"""MV-InfoNCE: InfoNCE for any number of views at once (Koromilas et al. 2025, code Multi-View-CL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Contrastive, gather_projections, scaled_products
from clever.baselines.options.mv_infonce import Denominator, MvInfonceOptions


class MvInfonce(Contrastive):
    """One numerator holds all pairs of an image's views, and one denominator all their negatives.

    Global and local views are treated alike, and there may be any number of local views. Recipes:
    workflow/recipes/{cifar10,imagenet100}/mv_infonce.yaml, the authors', which use plain SGD.

    >>> import torch
    >>> from clever.baselines.mv_infonce import MvInfonce
    >>> from clever.baselines.options.mv_infonce import MvInfonceOptions
    >>> _ = torch.manual_seed(0)
    >>> mv_infonce = MvInfonce(MvInfonceOptions(hidden_dim=32, out_dim=8))
    >>> head = mv_infonce.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = mv_infonce.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    4.3
    """

    options: MvInfonceOptions

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        views = gather_projections(student)
        return multi_view_infonce(views, temperature=self.options.temperature, denominator=self.options.denominator)


def multi_view_infonce(views: Tensor, *, temperature: float, denominator: Denominator = "everything") -> Tensor:
    """-1/N sum_i log [sum_{l != m} e^(u_il.u_im / T) / sum_l sum_{(m, j)} e^(u_il.u_jm / T)].

    Args:
        views: u, [V, N, K] float32 unit vectors; V >= 2.
        temperature: T > 0.
        denominator: whether (m, j) runs over everything except (l, i), or over m != l and all j.
    """
    count, rows, _ = views.shape
    flat = views.flatten(0, 1)
    logits = scaled_products(flat, flat, temperature).view(count, rows, count, rows)
    same_view = torch.eye(count, dtype=torch.bool, device=views.device)
    positives = logits.diagonal(dim1=1, dim2=3).masked_fill(same_view.unsqueeze(-1), -torch.inf)
    if denominator == "other_views":
        left_out = same_view.view(count, 1, count, 1)
    else:
        left_out = torch.eye(count * rows, dtype=torch.bool, device=views.device).view(count, rows, count, rows)
    competitors = torch.logsumexp(logits.masked_fill(left_out, -torch.inf), dim=(0, 2, 3))
    return (competitors - torch.logsumexp(positives, dim=(0, 1))).mean()
