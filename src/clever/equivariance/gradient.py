"""Foster et al.'s gradient regulariser: the features of a view should hardly change with its colour (arXiv 2010.09515).

From the authors' invclr.py. Let h(a) be the unit features of the first view as a function of its transformation's
parameters a, and a' an independent draw of the parameters. To first order, the squared change of h is ||J (a' - a)||^2.
Instead of the Jacobian J, one gradient is computed: for random signs e = +-1, the mean of (d(e.h)/da . (a' - a))^2 over
e has the same value.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation import ParameterSpace
from clever.augmentation.options.views import FIRST
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.gradient import GradientOptions


class Gradient(Equivariance):
    """The baseline on the whole representation, plus ``gradient`` on the features of the first view."""

    def __init__(self, options: GradientOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options = options

    def terms(self, batch: Batch) -> dict[str, Term]:
        view = batch.views[FIRST]
        leaf, redrawn = view.differentiable, view.redrawn
        assert leaf is not None
        assert redrawn is not None
        features = batch.student.features[0].float()
        if self.options.unit_features:
            features = F.normalize(features, dim=1)
        signs = torch.randint(0, 2, features.shape, device=features.device).float().mul_(2.0).sub_(1.0)
        value = first_order_change(features, leaf, signs, redrawn).clamp(max=self.options.upper_limit)
        return contrast(batch) | {"gradient": Term(value, self.options.gradient_weight)}


def first_order_change(features: Tensor, leaf: Tensor, signs: Tensor, redrawn: Tensor) -> Tensor:
    """Mean over draws k and images n of (d(sum e.h)/da_n . (a'_kn - a_n))^2, a differentiable scalar.

    Args:
        features: [N, D], computed from ``leaf``.
        leaf: [N, A], the parameters a of each image.
        signs: [N, D], each -1 or 1 with equal probability.
        redrawn: [K, N, A], the draws a'.

    >>> import torch
    >>> leaf = torch.zeros(2, 1, requires_grad=True)
    >>> features = 3 * leaf
    >>> first_order_change(features, leaf, signs=torch.ones(2, 1), redrawn=torch.ones(1, 2, 1)).item()  # 3^2
    9.0
    """
    (gradient,) = torch.autograd.grad((features * signs).sum(), leaf, create_graph=True)
    return ((redrawn - leaf.detach()) * gradient).sum(-1).square().mean()
