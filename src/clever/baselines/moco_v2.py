"""MoCo v2: momentum contrast with a queue of negatives (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv
2003.04297).

The symmetric form is solo-learn's MoCo V2+ (solo/methods/mocov2plus.py, 08e027a).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.contrast import scaled_products
from clever.baselines.cosine import diagnose_cosines, mean_cosine
from clever.baselines.mlp import ProjectionHead, make_mlp
from clever.baselines.options.moco_v2 import QueueOptions
from clever.collectives import gather_rows


class Queue(Baseline[ProjectionHead]):
    """InfoNCE of each view's projection against the teacher's projection of the other view and a queue of earlier ones.

    Each view has its own queue, which starts with random directions. A step's keys enter the queue after the loss is
    computed.

    The similarity for the orthogonality term is the absolute value of the batch mean of the signed cosine between the
    projection and the teacher's projection of the other view, averaged over both orders.
    """

    options: QueueOptions
    queue: Tensor

    def __init__(self, options: QueueOptions) -> None:
        super().__init__(options)
        self.teacher_groups = options.key_groups
        shape = 2, options.queue_length, options.out_dim
        start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.register_buffer("queue", F.normalize(start, dim=-1))

    def make_head(self, width: int) -> ProjectionHead:
        return ProjectionHead(make_mlp([width, self.options.hidden_dim, self.options.out_dim], hidden_norm=False))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = (units(view) for view in two_views(type(self).__name__.lower(), student))
        loss = self._loss(first, units(teacher[1]).detach(), self.queue[1])
        if not self.options.symmetric:
            return loss
        return (loss + self._loss(second, units(teacher[0]).detach(), self.queue[0])) / 2

    def _loss(self, queries: Tensor, keys: Tensor, queue: Tensor) -> Tensor:
        """Mean of -log [exp(q.k / T) / (exp(q.k / T) + sum_n exp(q.n / T))], where n are the rows of ``queue`` and the
        negatives of :meth:`further_logits`. All are unit vectors, [N, K] and [L, K]."""
        positive = (queries * keys).sum(dim=1, keepdim=True) / self.options.temperature
        negative = scaled_products(queries, queue, self.options.temperature)
        logits = torch.cat([positive, negative, *self.further_logits(queries, queue, negative)], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def further_logits(self, queries: Tensor, queue: Tensor, negative: Tensor) -> list[Tensor]:
        """Logits [N, M] of further negatives for each query.

        Args:
            queries: unit vectors float32 [N, K].
            queue: unit vectors [L, K].
            negative: the logits [N, L] of the queue.
        """
        return []

    @torch.no_grad()
    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Insert the keys of each view at the front of its queue."""
        fresh = torch.stack([gather_rows(units(view).detach()) for view in teacher])
        self.queue.copy_(torch.cat([fresh, self.queue], dim=1)[:, : self.options.queue_length])

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        pairs = zip(two_views(type(self).__name__.lower(), student), reversed(teacher), strict=True)
        cosines = [mean_cosine(view.projection, key.projection.detach()) for view, key in pairs]
        return torch.stack(cosines).mean().abs()

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)


class MocoV2(Queue):
    """MoCo v2. Recipes: workflow/recipes/{cifar10,imagenet100}/moco_v2.yaml, solo-learn's MoCo V2+. The student's
    backbone is evaluated.

    >>> import torch
    >>> from clever.baselines.moco_v2 import MocoV2
    >>> from clever.baselines.options.moco_v2 import MocoV2Options
    >>> _ = torch.manual_seed(0)
    >>> moco_v2 = MocoV2(MocoV2Options(hidden_dim=32, out_dim=8, queue_length=64))
    >>> head = moco_v2.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> loss = moco_v2.attract([head(view) for view in features], teacher, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    4.3
    """


def units(view: HeadOutput) -> Tensor:
    """The projections as unit vectors, float32 [N, K]."""
    return F.normalize(view.projection.float(), dim=-1)
