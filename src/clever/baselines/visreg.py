"""VISReg: LeJEPA's invariance with separate terms for centre, scale and shape (Wu et al. 2026, arXiv 2606.02572).

Details are those of lightly's VISRegLoss, which says that it follows the paper's Algorithm 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from clever.baselines.lejepa import Gaussian, GaussianOptions


class VisregOptions(GaussianOptions):
    """VISReg's settings; the defaults are those of lightly's VISRegLoss, with lightly's projector of LeJEPA."""

    name: Literal["visreg"] = "visreg"
    directions: PositiveInt = 4096
    """Random directions per step along which the projections are sorted and compared with a Gaussian's quantiles."""
    regulariser_share: float = Field(default=0.9, ge=0, le=1)
    """Share of the regulariser in the loss; the rest is the invariance. The paper recommends 0.6 for small data sets
    (lightly)."""
    scale_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared difference of every column's standard deviation from 1."""
    shape_weight: float = Field(default=1.0, ge=0)
    """Weight of the distance between sorted values and quantiles."""
    centre_weight: float = Field(default=1.0, ge=0)
    """Weight of the squared mean of every column."""


class Visreg(Gaussian):
    """Squared distance of all views to the mean of the global views, and a centre, a scale and a shape term per view.

    The shape term divides columns by their standard deviation without gradient, so that it does not act on the scale.
    In several processes, the statistics cover the images of all; the authors' are each process's own.

    >>> import torch
    >>> from clever.baselines.visreg import Visreg, VisregOptions
    >>> _ = torch.manual_seed(0)
    >>> visreg = Visreg(VisregOptions(hidden_dim=32, out_dim=8))
    >>> head = visreg.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = visreg.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    0.5
    """

    def __init__(self, options: VisregOptions) -> None:
        super().__init__(options)
        self.weights = options

    def regulariser(self, views: Tensor, directions: Tensor) -> Tensor:
        o, rows = self.weights, views.shape[1]
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
