"""W-MSE: whitening for self-supervised representation learning (Ermolov et al. 2021, arXiv 2007.06346)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Projected
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.w_mse import WMseOptions
from clever.collectives import from_first_process, gather_rows
from clever.errors import UserError


class WMse(Projected):
    """The distance between two views' projections, each whitened over random groups of images; there are no negatives.

    Global and local views are treated alike: the loss is the mean over all pairs of views. The similarity for the
    orthogonality term is the absolute value of the batch mean of the cosine between the unwhitened projections.

    Recipes: workflow/recipes/{cifar10,imagenet100}/w_mse.yaml, solo-learn's.

    >>> import torch
    >>> from clever.baselines.options.w_mse import WMseOptions
    >>> from clever.baselines.w_mse import WMse
    >>> _ = torch.manual_seed(0)
    >>> w_mse = WMse(WMseOptions(hidden_dim=32, out_dim=8, whitening_size=16))
    >>> head = w_mse.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = w_mse.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    2.1
    """

    options: WMseOptions

    def make_head(self, width: int) -> ProjectionHead:
        return ProjectionHead(make_mlp([width, self.options.hidden_dim, self.options.out_dim]))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        views = torch.stack([gather_rows(view.projection.float()) for view in student])
        o, (rows, width) = self.options, views.shape[1:]
        if reason := o.refusal(rows):
            raise UserError(reason)
        # The sorting order of uniform numbers is a random permutation; every process uses the same one.
        numbers = torch.rand(o.whitening_iterations, rows + width, device=views.device)
        numbers = from_first_process(numbers)
        losses = []
        for drawn in numbers:
            images, columns = drawn[:rows].argsort(), drawn[rows:].argsort()
            losses.append(
                whitened_distance(
                    views[:, images][:, :, columns], o.whitening_size, o.channel_groups, o.whitening_shrinkage
                )
            )
        return torch.stack(losses).mean()


def whitened_distance(views: Tensor, size: int, groups: int = 1, shrinkage: float = 0.0) -> Tensor:
    """Mean of 2 - 2 cos over all pairs of views, after whitening.

    Args:
        views: float32 [V, N, K]; N a multiple of ``size``, K of ``groups``.
        size: consecutive images that are whitened together.
        groups: parts of consecutive columns that are whitened separately.
        shrinkage: as in :func:`whiten`.
    """
    count, rows, width = views.shape
    blocks = views.reshape(count, rows // size, size, groups, width // groups).transpose(2, 3)
    whitened = whiten(blocks, shrinkage).transpose(2, 3).flatten(3).flatten(1, 2)
    pairs = combinations(F.normalize(whitened, dim=2), 2)
    return torch.stack([2 - 2 * (first * second).sum(dim=1).mean() for first, second in pairs]).mean()


def whiten(rows: Tensor, shrinkage: float = 0.0) -> Tensor:
    """Centre the rows [..., M, D] and multiply them by the inverse Cholesky factor of their covariance.

    The covariance C has the divisor M - 1; with shrinkage e it is (1 - e) C + e I. If it has no Cholesky factor, the
    result is NaN, because checking would make the host wait for the device.
    """
    with torch.autocast(rows.device.type, enabled=False):
        centred = rows - rows.mean(dim=-2, keepdim=True)
        covariance = centred.mT @ centred / (rows.shape[-2] - 1)
        unit = torch.eye(rows.shape[-1], device=rows.device, dtype=rows.dtype)
        factor, fault = torch.linalg.cholesky_ex((1 - shrinkage) * covariance + shrinkage * unit)
        factor = torch.where((fault == 0)[..., None, None], factor, torch.nan)
        whitened: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
        return whitened
