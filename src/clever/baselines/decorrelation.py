"""Second moments between the columns of projections. Barlow Twins and VICReg drive them to zero."""

from __future__ import annotations

import torch
from torch import Tensor


def standardise(vectors: Tensor) -> Tensor:
    """Columns of [N, D] scaled to mean 0 and variance 1 over the batch, as by a BatchNorm without scale and shift (eps
    1e-5)."""
    variance, mean = torch.var_mean(vectors, dim=0, correction=0)
    return (vectors - mean) * torch.rsqrt(variance + 1e-5)


def diagonal_products(first: Tensor, second: Tensor) -> Tensor:
    """The diagonal of ``first^T second`` for [N, D] and [N, D], a tensor [D]."""
    return (first * second).sum(dim=0)


def off_diagonal_energy(first: Tensor, second: Tensor) -> Tensor:
    """The sum of the squared off-diagonal entries of ``first^T second`` for [N, D] and [N, D], a scalar.

    With fewer images than columns (typically 256 and 8192), the D x D matrix is not formed. Its squared Frobenius norm
    is the inner product of the two N x N Gram matrices, which needs 2N/D of the work and hardly any memory.
    """
    with torch.autocast(first.device.type, enabled=False):
        if len(first) < first.shape[1]:
            everything = ((first @ first.T) * (second @ second.T)).sum()
            return everything - diagonal_products(first, second).square().sum()
        products = first.T @ second
        return (products - torch.diag(products.diagonal())).square().sum()
