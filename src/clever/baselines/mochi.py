"""MoCHi: hard negative mixing in feature space (Kalantidis et al. 2020, arXiv 2010.01028), on MoCo v2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.moco_v2 import Queue
from clever.baselines.options.mochi import MochiOptions
from clever.collectives import uniform_rows


class Mochi(Queue):
    """MoCo v2 with synthetic negatives h for each query q: unit vectors without gradient.

    Let n_i and n_j be two of the hardest negatives, drawn with replacement. The synthetic negatives are a n_i + (1 - a)
    n_j with a ~ U(0, 1), and b q + (1 - b) n_i with b ~ U(0, 1/2), both normalised. They are drawn again for every
    query in every step, for the queries of both views.

    >>> import torch
    >>> from clever.baselines.mochi import Mochi
    >>> from clever.baselines.options.mochi import MochiOptions
    >>> _ = torch.manual_seed(0)
    >>> mochi = Mochi(MochiOptions(hidden_dim=32, out_dim=8, queue_length=64))
    >>> head = mochi.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> loss = mochi.attract([head(view) for view in features], teacher, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    4.3
    """

    options: MochiOptions

    def __init__(self, options: MochiOptions) -> None:
        super().__init__(options)
        self.epoch = 0

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def further_logits(self, queries: Tensor, queue: Tensor, negative: Tensor) -> list[Tensor]:
        if self.epoch < self.options.start_epoch:
            return []
        mixed = self.mix(queries.detach(), queue, negative.detach())
        return [torch.einsum("nk,nmk->nm", queries, mixed) / self.options.temperature]

    @torch.no_grad()
    def mix(self, queries: Tensor, queue: Tensor, negative: Tensor) -> Tensor:
        """The synthetic negatives, unit vectors float32 [N, mixed_negatives + mixed_with_query, K]."""
        o = self.options
        hardest = queue[negative.topk(o.hardest, dim=1).indices]
        count = 2 * o.mixed_negatives + o.mixed_with_query
        choice, share = uniform_rows(len(queries), 2, count, device=queries.device).unbind(1)
        chosen = hardest.gather(1, (choice * o.hardest).long().unsqueeze(2).expand(-1, -1, hardest.shape[2]))
        counts = [o.mixed_negatives, o.mixed_negatives, o.mixed_with_query]
        first, second, partner = torch.split(chosen, counts, dim=1)
        among, _, with_query = torch.split(share.unsqueeze(2), counts, dim=1)
        mixed = torch.cat(
            [
                among * first + (1 - among) * second,
                with_query / 2 * queries.unsqueeze(1) + (1 - with_query / 2) * partner,
            ],
            dim=1,
        )
        return F.normalize(mixed, dim=2)
