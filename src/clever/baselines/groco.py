"""GroCo: group ordering constraints (Shvetsova et al. 2023, arXiv 2301.02009): positives rank above hard negatives.

The loss follows the authors' losses/groco.py (learning_by_sorting), with a differentiable odd-even sorting network
(Petersen et al. 2022, arXiv 2203.09630; package diffsort).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput
from clever.baselines.contrast import Projected, gather_projections
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.groco import GrocoOptions

_LEAST = 1e-6


class Groco(Projected):
    """Cross-entropy between each value's group and the probability that sorting puts it among the positives.

    Global and local views are treated alike: an image's positives are all of its other views. Positives and negatives
    are compared by their cosines with detached targets.

    >>> import torch
    >>> from clever.baselines.groco import Groco
    >>> from clever.baselines.options.groco import GrocoOptions
    >>> _ = torch.manual_seed(0)
    >>> groco = Groco(GrocoOptions(hidden_dim=32, out_dim=8))
    >>> head = groco.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = groco.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    0.2
    """

    options: GrocoOptions

    def make_head(self, width: int) -> ProjectionHead:
        hidden = self.options.hidden_dim
        return ProjectionHead(make_mlp([width, hidden, hidden, self.options.out_dim]))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        return group_ordering(gather_projections(student), self.options.hardest, self.options.steepness)


def group_ordering(views: Tensor, hardest: int, steepness: float) -> Tensor:
    """The loss: the mean over images, views and sorted values.

    The authors average two cross-entropies, one over the ranks of the positives and one over the ranks of the
    negatives. Both are equal, because the probabilities of all ranks sum to 1.

    Args:
        views: [V, N, K] float32 unit vectors; V >= 2, N >= 2.
        hardest: number of negatives per image.
        steepness: steepness of the sorting network's swaps.
    """
    count, rows, _ = views.shape
    with torch.autocast(views.device.type, enabled=False):
        targets = views.detach()
        alike = torch.einsum("vik,mik->vim", views, targets)
        # Select by index: with a mask, the host would have to wait for the device to count its entries.
        others = torch.arange(count - 1, device=views.device)
        others = others + (others >= torch.arange(count, device=views.device).unsqueeze(1))
        positive = alike.gather(2, others.unsqueeze(1).expand(-1, rows, -1))
        same_image = torch.eye(rows, dtype=torch.bool, device=views.device)
        within = (views @ targets.mT).masked_fill(same_image, -torch.inf)
        negative = within.topk(min(hardest, rows - 1), dim=2).values
        values = torch.cat([negative.flip(2), positive.sort(dim=2).values], dim=2).flatten(0, 1)
        ranks = soft_ranks(values, steepness)
        high = ranks[:, :, -(count - 1) :].sum(dim=2).clamp(_LEAST, 1 - _LEAST)
        wanted = torch.zeros_like(high)
        wanted[:, -(count - 1) :] = 1.0
        return F.binary_cross_entropy(high, wanted)


def soft_ranks(values: Tensor, steepness: float) -> Tensor:
    """Probabilities float32 [B, L, L] that each of the values [B, L] gets each rank in ascending order.

    L layers of an odd-even network exchange neighbours (a, b) with probability 1/2 - atan(steepness (b - a)) / pi,
    which is small if the two values are already in order.
    """
    length = values.shape[1]
    ranks = torch.eye(length, device=values.device).expand(len(values), -1, -1)
    for layer in range(length):
        start = layer % 2
        stop = start + (length - start) // 2 * 2
        a, b = values[:, start:stop:2], values[:, start + 1 : stop : 2]
        stay = torch.atan(steepness * (b - a)) / torch.pi + 0.5
        values = _interleaved(values, stay * a + (1 - stay) * b, stay * b + (1 - stay) * a, start, stop)
        a, b, stay = ranks[:, :, start:stop:2], ranks[:, :, start + 1 : stop : 2], stay.unsqueeze(1)
        ranks = _interleaved(ranks, stay * a + (1 - stay) * b, stay * b + (1 - stay) * a, start, stop)
    return ranks


def _interleaved(whole: Tensor, low: Tensor, high: Tensor, start: int, stop: int) -> Tensor:
    """``whole`` with its last axis from start to stop replaced by low, high, low, high, ..."""
    pairs = torch.stack([low, high], dim=-1).flatten(-2)
    return torch.cat([whole[..., :start], pairs, whole[..., stop:]], dim=-1)
