"""DDCL: the representation is split, and the equivariant factors of two views are made orthogonal.

Distortion-Disentangled Contrastive Learning (arXiv 2303.05066), the predecessor of CLeVER.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation import ParameterSpace
from clever.backbones.representation import Split
from clever.baselines.contrast import scaled_products
from clever.collectives import gather_rows
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, Part
from clever.equivariance.options.ddcl import DdclOptions, SplitOptions


class Ddcl(Equivariance):
    """Attraction on the IR (``contrast``), and the same baseline's similarity on the EF, minimised to zero
    (``orthogonality``)."""

    def __init__(self, options: DdclOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(*ir_and_ef(options, feature_dim))
        self.options = options

    def terms(self, batch: Batch) -> dict[str, Term]:
        return (
            contrast(batch, "IR")
            | orthogonality(batch, self.options.orthogonality_weight)
            | joint_entropy(batch, self.split, self.options)
        )


def ir_and_ef(options: SplitOptions, feature_dim: int) -> tuple[dict[str, Part], Split]:
    """The two parts, each with a head, and the split that defines them."""
    split = Split(feature_dim, options.separation_ratio, options.split_rounding)
    ef = Part(slice(split.ir_dim, feature_dim), options.ef_baseline)
    return {"IR": Part(slice(0, split.ir_dim)), "EF": ef}, split


def orthogonality(batch: Batch, weight: float) -> dict[str, Term]:
    """The similarity of the EFs of two views, which training drives to zero."""
    return {"orthogonality": Term(batch.parts["EF"].similarity(), weight)}


def joint_entropy(batch: Batch, split: Split | None, options: SplitOptions) -> dict[str, Term]:
    """``joint_entropy``, the mean over the two global views of :func:`mean_log_density`; no term if its weight is 0.

    Minimising it raises the joint entropy of IR and EF, which is largest when they are independent (SepCLR, Louiset et
    al. 2024, arXiv 2402.11928). SepCLR normalises only the common part; here both parts are normalised, because the EF
    would otherwise grow without limit.
    """
    if not options.joint_entropy_weight:
        return {}
    assert split is not None
    values = []
    for view in batch.student.features[:2]:
        ir, ef = (gather_rows(F.normalize(part.float(), dim=1)) for part in (split.ir(view), split.ef(view)))
        values.append(mean_log_density(ir, ef, options.joint_entropy_temperature))
    return {"joint_entropy": Term(torch.stack(values).mean(), options.joint_entropy_weight)}


def mean_log_density(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean over i of log of the mean over j of k(a_i, a_j) k(b_i, b_j), where k is a Gaussian kernel of variance T.

    Args:
        first, second: rows a [N, K] and b [N, L] of the same images, float32 unit vectors.
        temperature: T.

    >>> import torch
    >>> one = torch.tensor([[1.0, 0.0]] * 3)  # three equal images: the kernel is 1 everywhere
    >>> mean_log_density(one, one, 0.5).item()
    0.0
    """
    # |x - y|^2 = 2 - 2 x.y for unit vectors.
    exponent = scaled_products(first, first, temperature) + scaled_products(second, second, temperature)
    return torch.logsumexp(exponent - 2 / temperature, dim=1).mean() - math.log(len(first))
