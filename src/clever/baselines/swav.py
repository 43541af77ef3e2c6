"""SwAV: swapping assignments between views (Caron et al. 2020, arXiv 2006.09882)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.baselines.baseline import Baseline, Head, HeadOutput
from clever.baselines.cosine import spread
from clever.baselines.mlp import make_mlp
from clever.baselines.options.swav import SwavOptions
from clever.baselines.sinkhorn import sinkhorn
from clever.collectives import gather_rows, process_rank


class SwavHead(Head):
    """A projector and prototypes; its l2-normalised embedding is compared with the l2-normalised prototypes.

    The prototypes are normalised to length 1 before each training step, outside the gradient, as in the authors' code
    (main_swav.py:283-287), so that scores are cosines.
    """

    def __init__(self, width: int, options: SwavOptions) -> None:
        super().__init__()
        self.projector = make_mlp([width, options.hidden_dim, options.out_dim])
        self.prototypes = nn.Linear(options.out_dim, options.prototypes, bias=False)
        self.normalise_prototypes()

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Normalise every prototype to length 1; a prototype that already has length 1 is unchanged, bit for bit."""
        weight = self.prototypes.weight
        length = torch.linalg.vector_norm(weight, dim=1, keepdim=True).clamp_min(1e-12)
        # Through .data: a second forward pass before the first one's backward pass does not change the prototypes, and
        # autograd must not conclude that it did.
        weight.data.copy_(torch.where((length - 1).abs() < 1e-6, weight, weight / length))

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to unit embeddings [M, out_dim] and their scores [M, prototypes], cosines, in float32."""
        if self.training:
            self.normalise_prototypes()
        embedding = F.normalize(self.projector(features).float(), dim=-1)
        return HeadOutput(embedding, scores_of(embedding, self.prototypes.weight))

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The prototypes: like DINO's last layer, they follow a bottleneck whose width does not depend on their
        number."""
        return list(self.prototypes.parameters())


class Swav(Baseline[SwavHead]):
    """Predicts each global view's assignment to prototypes from every other view, including local views.

    In the head's output, the projection is the embedding, and the prediction is the scores. The similarity for the
    orthogonality term is the one that CLeVER uses for DINO: the cosine between a view's distribution over prototypes
    and the detached assignment of another view. It is 0 when the two share no prototype.

    Recipes: workflow/recipes/{cifar10,imagenet100}/swav.yaml, solo-learn's, with two views. Our sources do not contain
    the authors' recipe for ImageNet.

    >>> import torch
    >>> from clever.baselines.options.swav import SwavOptions
    >>> from clever.baselines.swav import Swav
    >>> _ = torch.manual_seed(0)
    >>> swav = Swav(SwavOptions(hidden_dim=32, out_dim=8, prototypes=16, queue_length=64))
    >>> head = swav.make_head(16)  # for 16 features
    >>> views = [head(features) for features in torch.randn(2, 32, 16)]  # two views of 32 images
    >>> loss = swav.attract(views, views, head)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    7.0
    """

    options: SwavOptions
    queue: Tensor

    def __init__(self, options: SwavOptions) -> None:
        super().__init__(options)
        self.epoch = 0
        self.register_buffer("queue", torch.zeros(2, options.queue_length, options.out_dim))
        self._queue_is_full = False

    def make_head(self, width: int) -> SwavHead:
        return SwavHead(width, self.options)

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: SwavHead) -> Tensor:
        pairs = list(self._pairs(student, len(teacher), head))
        log_scores = [F.log_softmax(_scores(view) / self.options.temperature, dim=-1) for view in student]
        return -torch.stack([(target * log_scores[view]).sum(dim=-1).mean() for target, view in pairs]).mean()

    def similarity(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: SwavHead) -> Tensor:
        shares = [torch.softmax(_scores(view) / self.options.temperature, dim=-1) for view in student]
        cosines = [
            F.cosine_similarity(target, shares[view]).mean()
            for target, view in self._pairs(student, len(teacher), head)
        ]
        return torch.stack(cosines).mean()

    def _pairs(self, student: Sequence[HeadOutput], assigned: int, head: SwavHead) -> Iterator[tuple[Tensor, int]]:
        """The assignment of each global view, with the indices of all other views."""
        for number, view in enumerate(student[:assigned]):
            target = self.assign(number, _scores(view), head.prototypes.weight)
            for other in range(len(student)):
                if other != number:
                    yield target, other

    @torch.no_grad()
    def assign(self, number: int, scores: Tensor, prototypes: Tensor) -> Tensor:
        """Sinkhorn's assignments [N, prototypes] of this process's images. They are computed jointly with the images of
        all processes and, once it is full, the queue of global view ``number``, scored with ``prototypes`` [prototypes,
        out_dim]."""
        rows, everyone = len(scores), gather_rows(scores.detach().float())
        if self.queue_is_used():
            everyone = torch.cat([everyone, scores_of(self.queue[number], prototypes)])
        targets = sinkhorn(everyone, epsilon=self.options.epsilon, iterations=self.options.sinkhorn_iterations)
        start = process_rank() * rows
        return targets[start : start + rows]

    def queue_is_used(self) -> bool:
        """Whether there is a queue and it is full."""
        if self.options.queue_length and not self._queue_is_full:
            # Check only until the queue is full, because the check makes the host wait for the device.
            self._queue_is_full = bool(self.queue[:, -1].any())
        return self._queue_is_full

    @torch.no_grad()
    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Insert the embeddings of the global views at the front of the queue."""
        if self.options.queue_length == 0 or self.epoch < self.options.queue_start_epoch:
            return
        fresh = torch.stack([gather_rows(view.projection.detach().float()) for view in teacher])
        self.queue.copy_(torch.cat([fresh, self.queue], dim=1)[:, : self.options.queue_length])

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def frozen_parameters(self, head: SwavHead, epoch: int) -> list[nn.Parameter]:
        return head.last_layer_parameters() if epoch < self.options.freeze_prototypes_epochs else []

    @torch.no_grad()
    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        """The spread of the embedding, and two entropies divided by ln K: the entropy of the mean distribution over
        prototypes, and its excess over the mean entropy. The excess is the information that the prototype holds about
        the image; it is 0 at collapse."""
        shares = torch.softmax(_scores(student[0]) / self.options.temperature, dim=-1)
        largest = math.log(max(2, self.options.prototypes))
        usage = torch.special.entr(shares.mean(dim=0)).sum()
        return {
            "projection_std": spread(student[0].projection),
            "assignment_entropy_ratio": usage / largest,
            "assignment_information_ratio": (usage - torch.special.entr(shares).sum(dim=-1).mean()) / largest,
        }


def scores_of(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """Inner products [N, K] of embeddings [N, D] and prototypes [K, D], in float32 even under autocast."""
    with torch.autocast(embeddings.device.type, enabled=False):
        return embeddings @ prototypes.float().T


def _scores(view: HeadOutput) -> Tensor:
    assert view.prediction is not None
    return view.prediction.float()
