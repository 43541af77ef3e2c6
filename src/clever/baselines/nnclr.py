"""NNCLR: with a little help from my friends (Dwibedi et al. 2021, arXiv 2104.14548)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Baseline, Head, HeadOutput, two_views
from clever.baselines.contrast import gather_projections, scaled_products
from clever.baselines.cosine import diagnose_cosines, predicted_cosine
from clever.baselines.mlp import PredictionHead, make_mlp
from clever.baselines.options.nnclr import NnclrOptions
from clever.collectives import gather_rows, process_rank


class Nnclr(Baseline[PredictionHead]):
    """InfoNCE between the nearest neighbour of each view's projection in a queue and the other view's prediction.

    The similarity for the orthogonality term is DDCL's form for SimSiam: the absolute value of the batch mean of the
    signed cosine between the prediction and the other view's detached projection, averaged over both orders. It does
    not use neighbours, which would make views of different images orthogonal.

    Reference: 91.88 % on CIFAR-10 after 1000 epochs with a ResNet-18 (solo-learn).

    >>> import torch
    >>> from clever.baselines.nnclr import Nnclr
    >>> from clever.baselines.options.nnclr import NnclrOptions
    >>> _ = torch.manual_seed(0)
    >>> nnclr = Nnclr(NnclrOptions(hidden_dim=32, out_dim=8, queue_length=64))
    >>> head = nnclr.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = nnclr.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    6.9
    """

    options: NnclrOptions
    queue: Tensor

    def __init__(self, options: NnclrOptions) -> None:
        super().__init__(options)
        # Until the first projections arrive, the queue holds random directions; any neighbour will do until then.
        start = torch.randn(options.queue_length, options.out_dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("queue", F.normalize(start, dim=-1))

    def make_head(self, width: int) -> PredictionHead:
        hidden, out = self.options.hidden_dim, self.options.out_dim
        return PredictionHead(make_mlp([width, hidden, hidden, out], final_norm="affine"), make_mlp([out, hidden, out]))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        first, second = two_views("nnclr", student)
        return (self._loss(first, second) + self._loss(second, first)) / 2

    def _loss(self, view: HeadOutput, other: HeadOutput) -> Tensor:
        """Mean of -log [exp(n_i.p_i / T) / sum_j exp(n_i.p_j / T)]: n_i is the nearest neighbour of ``view``'s
        projection; p_j are the predictions of ``other`` in all processes."""
        assert other.prediction is not None
        neighbours = self.neighbours(view.projection)
        (predictions,) = gather_projections([HeadOutput(other.prediction)])
        own = process_rank() * len(neighbours) + torch.arange(len(neighbours), device=neighbours.device)
        return F.cross_entropy(scaled_products(neighbours, predictions, self.options.temperature), own)

    @torch.no_grad()
    def neighbours(self, projections: Tensor) -> Tensor:
        """The row of the queue with the largest cosine to each row of [N, K]: unit vectors [N, K]."""
        nearest = scaled_products(F.normalize(projections.float(), dim=-1), self.queue, 1.0).argmax(dim=1)
        return self.queue[nearest]

    @torch.no_grad()
    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Insert the projections of the first view at the front of the queue."""
        fresh = gather_rows(F.normalize(teacher[0].projection.detach().float(), dim=-1))
        self.queue.copy_(torch.cat([fresh, self.queue])[: self.options.queue_length])

    def similarity(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None
    ) -> Tensor:
        return predicted_cosine(two_views("nnclr", student), teacher).abs()

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        return diagnose_cosines(student)
