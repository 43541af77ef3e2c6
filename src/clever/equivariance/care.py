"""CARE: augmentations act on the embeddings as rotations (Gupta et al., ICLR 2024, arXiv 2306.13924).

Each chunk of images is transformed twice, each time with one transformation for all its images. If a transformation
acts as an orthogonal map, it preserves the angles between the images' embeddings. Details follow the authors' code
(Sharut/CARE:imagenet100/model/loss.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation import ParameterSpace, View
from clever.baselines.contrast import scaled_products
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.care import COPIES, CareOptions


class Care(Equivariance):
    """The baseline on the whole representation, plus ``care``, the squared change of cosines within chunks.

    The embedding is the projection of the baseline's head. The backbone encodes the two copies in addition to the
    views, which doubles a step's cost for two-view baselines. BatchNorm normalises each copy over the batch, not over a
    chunk.
    """

    def __init__(self, options: CareOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options = options

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """``chunk_1`` and ``chunk_2`` [N, 3, S, S]."""
        return {name: views[name].images for name in COPIES}

    def terms(self, batch: Batch) -> dict[str, Term]:
        head = batch.parts["ALL"].head
        first, second = (head(batch.student.extra[name]).projection for name in COPIES)
        value = change_of_angles(first, second, self.options.images_per_chunk)
        return contrast(batch) | {"care": Term(value, self.options.care_weight)}


def change_of_angles(first: Tensor, second: Tensor, chunk: int) -> Tensor:
    """2 / N times the sum over ordered pairs of images of a chunk of (cos in the first copy - cos in the second)^2.

    Args:
        first, second: embeddings [N, K] of the two copies of the same images, N a multiple of ``chunk``.

    >>> import torch
    >>> first = torch.eye(2)
    >>> change_of_angles(first, first.flip(1), chunk=2).item()  # a shared rotation keeps the angles
    0.0
    >>> round(change_of_angles(first, torch.ones(2, 2), chunk=2).item(), 4)  # from 90 to 0 degrees
    2.0
    """
    cosines = []
    for copy in (first, second):
        units = F.normalize(copy.float(), dim=1).reshape(-1, chunk, copy.shape[1])
        cosines.append(scaled_products(units, units, 1.0))
    change = (cosines[0] - cosines[1]).square()
    # An image's cosine with itself is always 1; exclude its rounding errors.
    change = change.masked_fill(torch.eye(chunk, dtype=torch.bool, device=change.device), 0.0)
    return 2 * change.sum(dim=2).mean()
