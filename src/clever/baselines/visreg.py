"""VISReg: LeJEPA's invariance with separate terms for centre, scale and shape (Wu et al. 2026, arXiv 2606.02572).

Details follow lightly's VISRegLoss, which says that it follows the paper's Algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clever.baselines.lejepa import Gaussian
from clever.baselines.options.visreg import VisregOptions


class Visreg(Gaussian):
    """The squared distance of all views to the mean of the global views, plus a centre, a scale and a shape term per
    view.

    The shape term divides columns by their detached standard deviation, so that it does not act on the scale. With
    several processes, the statistics cover the images of all processes; the authors compute them per process.

    >>> import torch
    >>> from clever.baselines.options.visreg import VisregOptions
    >>> from clever.baselines.visreg import Visreg
    >>> _ = torch.manual_seed(0)
    >>> visreg = Visreg(VisregOptions(hidden_dim=32, out_dim=8))
    >>> head = visreg.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = visreg.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    0.5
    """

    options: VisregOptions

    def regulariser(self, views: Tensor, directions: Tensor) -> Tensor:
        o, rows = self.options, views.shape[1]
        mean, deviation = views.mean(dim=1), views.std(dim=1, correction=0)
        position = torch.arange(1, rows + 1, device=views.device) / (rows + 1)
        quantile = torch.special.ndtri(position).unsqueeze(1)
        standard = (views - mean.unsqueeze(1)) / (deviation.detach().unsqueeze(1) + 1e-4)
        ordered = (standard @ directions).sort(dim=1).values
        total: Tensor = (
            o.scale_weight * (1 - deviation).square().mean()
            + o.shape_weight * (ordered - quantile).square().mean()
            + o.centre_weight * mean.square().mean()
        )
        return total
