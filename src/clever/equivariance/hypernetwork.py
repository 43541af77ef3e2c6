"""A linear map of embeddings whose matrix depends on a transformation's parameters: SIE's W(q)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clever.equivariance.options.hypernetwork import Start


class Hypernetwork(nn.Module):
    """``W(q) e`` with ``W(q) = sum_a q_a W_a``, linear in both and without a bias, so that q cannot be ignored.

    Forming W(q) for every image would take a tensor [N, width, width], 2 GB for 512 images in float32. The equal sum of
    ``q_a (W_a e)`` is computed instead, which needs no more memory than the embeddings.

    By default, the weights are initialised from a normal distribution so that W(q) e has on average the same length as
    e. SIE's hypernetwork is a plain linear layer from R to width^2 numbers with torch's default initialisation, uniform
    on +-1 / sqrt(R): for its unit quaternions (R = 4) and width 1024, W(q) e is then nine times as long as e.

    Args:
        relative_dim: R, the number of entries of q.
        width: width of the embeddings.
        squared_length: squared length of a typical q.
        start: ``equal_length``, or ``linear`` for torch's default initialisation of a linear layer.
    """

    def __init__(self, relative_dim: int, width: int, squared_length: float, start: Start = "equal_length") -> None:
        super().__init__()
        shape = relative_dim, width, width
        if start == "linear":
            bound = relative_dim**-0.5
            self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        else:
            self.weight = nn.Parameter(torch.randn(shape) * (width * squared_length) ** -0.5)

    def forward(self, embeddings: Tensor, relative: Tensor) -> Tensor:
        """Embeddings [N, width] and relative parameters [N, R] to float32 [N, width]."""
        total = torch.zeros_like(embeddings, dtype=torch.promote_types(embeddings.dtype, torch.float32))
        for entry, weight in zip(relative.unbind(1), self.weight.unbind(0), strict=True):
            total = total + entry.unsqueeze(1) * F.linear(embeddings, weight)
        return total
