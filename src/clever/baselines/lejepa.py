"""LeJEPA: views agree, and their projections are isotropic Gaussian (Balestriero and LeCun 2025, arXiv 2511.08544)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Projected
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.lejepa import GaussianOptions, LejepaOptions
from clever.collectives import from_first_process, gather_rows


class Gaussian(Projected):
    """A projector whose output should be Gaussian; the regulariser treats global and local views alike."""

    options: GaussianOptions

    def make_head(self, width: int) -> ProjectionHead:
        hidden = [self.options.hidden_dim] * (self.options.head_layers - 1)
        return ProjectionHead(make_mlp([width, *hidden, self.options.out_dim]))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        views = torch.stack([gather_rows(view.projection.float()) for view in student])
        drawn = from_first_process(torch.randn(views.shape[2], self.options.directions, device=views.device))
        with torch.autocast(views.device.type, enabled=False):
            regulariser = self.regulariser(views, drawn / drawn.norm(dim=0))
        share = self.options.regulariser_share
        return share * regulariser + (1 - share) * (views - views[:2].mean(dim=0)).square().mean()

    def regulariser(self, views: Tensor, directions: Tensor) -> Tensor:
        """The distance of the projections from a standard Gaussian, a scalar.

        Args:
            views: projections float32 [V, N, K] of all views.
            directions: [K, S], S random unit vectors.
        """
        raise NotImplementedError


class Lejepa(Gaussian):
    """The squared distance of all views to the mean of the global views, plus SIGReg.

    SIGReg compares the projections along each direction with a standard Gaussian by an Epps-Pulley statistic. It
    integrates the squared difference of their characteristic functions, weighted by the Gaussian's, over positive and
    negative frequencies, and multiplies the integral by the number of images. It is averaged over directions and views.

    >>> import torch
    >>> from clever.baselines.lejepa import Lejepa
    >>> from clever.baselines.options.lejepa import LejepaOptions
    >>> _ = torch.manual_seed(0)
    >>> lejepa = Lejepa(LejepaOptions(hidden_dim=32, out_dim=8))
    >>> head = lejepa.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = lejepa.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    0.5
    """

    options: LejepaOptions

    def regulariser(self, views: Tensor, directions: Tensor) -> Tensor:
        return epps_pulley(views @ directions, self.options.frequencies, self.options.largest_frequency)


def epps_pulley(sliced: Tensor, frequencies: int, largest: float) -> Tensor:
    """Mean over views and directions of the statistic, by the trapezoidal rule.

    Args:
        sliced: float32 [V, N, S].
        frequencies: number of frequencies on [0, largest]; the integrand is even, so the other half counts twice.
    """
    frequency = torch.linspace(0.0, largest, frequencies, device=sliced.device)
    gaussian = torch.exp(-frequency.square() / 2)
    # One frequency at a time, because memory would grow with the number of frequencies.
    errors = [
        ((f * sliced).cos().mean(dim=1) - g).square() + (f * sliced).sin().mean(dim=1).square()
        for f, g in zip(frequency.unbind(), gaussian.unbind(), strict=True)
    ]
    integral = 2 * torch.trapezoid(torch.stack(errors, dim=-1) * gaussian, frequency, dim=-1)
    return (integral * sliced.shape[1]).mean()
