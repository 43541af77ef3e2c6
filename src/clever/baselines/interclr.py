"""InterCLR: MoCo v2 that also attracts other images of the same pseudo-label (Xie et al. 2022, arXiv 2008.11702).

Details follow the authors' code in mmselfsup (mmselfsup/models/memories/interclr_memory.py, 684875d, and the algorithm
InterCLRMoCo).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import Head, HeadOutput, two_views
from clever.baselines.contrast import scaled_products
from clever.baselines.moco_v2 import Queue, units
from clever.baselines.options.interclr import InterclrOptions
from clever.baselines.samples import Samples, gather_samples
from clever.clustering import cluster_means, mend, nearest, spherical_k_means
from clever.collectives import from_first_process, gather_rows, uniform_rows


class Interclr(Queue):
    """MoCo v2, plus the same contrast with a memory that holds the newest key of every training image.

    A query's positive is a random image with the same pseudo-label, possibly the query's own image. Its negatives are
    drawn at random from the images nearest to it, among those with a different pseudo-label. The loss is the weighted
    mean of both contrasts; in the symmetric form, each view is the query once.

    An image's entry and pseudo-label are updated with its key: the label is the centroid with the largest inner
    product. At the start of every epoch, the centroids are recomputed, small clusters are dissolved, and the largest
    clusters are split to fill the empty ones.

    We differ from the authors' code in these points. Entries start as random directions, and the first clusters come
    from k-means on the memory after the first epoch (theirs: on the features of the initial network). Centroids change
    once per epoch (theirs: every 10 steps, and small clusters are dissolved in every step). A cluster with fewer than
    twice the minimum number of images is never split. Negatives are drawn from the pool without rejection sampling. If
    an image has two keys in one step, the memory keeps the second view's.

    The authors' recipe is known only for ImageNet: ResNet-50, 200 epochs, MoCo v2 in the paper's form with a queue of
    65,536, 128 outputs and temperature 0.2. It reaches 68.04 linear top-1 (mmselfsup's README, on the fifth stage's
    map).

    >>> import torch
    >>> from clever.baselines.interclr import Interclr
    >>> from clever.baselines.options.interclr import InterclrOptions
    >>> from clever.baselines.samples import Samples
    >>> _ = torch.manual_seed(0)
    >>> interclr = Interclr(InterclrOptions(hidden_dim=32, out_dim=8, queue_length=64, images_per_cluster=16))
    >>> interclr.prepare(training_images=320)
    >>> interclr.start_epoch(1)
    >>> head = interclr.make_head(16)  # for 16 features
    >>> features = torch.randn(2, 32, 16)  # two views of 32 images
    >>> teacher = [head(view) for view in features]  # in training from a momentum copy of the head
    >>> rows = torch.arange(32).expand(2, -1)
    >>> samples = Samples(rows, labels=rows % 10)  # it does not look at the labels
    >>> loss = interclr.attract_samples([head(view) for view in features], teacher, head, samples)
    >>> loss.backward()
    >>> round(loss.item(), 1)
    4.2
    """

    options: InterclrOptions
    memory: Tensor
    """float32 [images, K], unit vectors."""
    pseudo_labels: Tensor
    """int64 [images]."""
    centroids: Tensor
    """float32 [clusters, K]; zeros for a cluster without images."""
    clustered_in: Tensor
    """int64 []: the epoch at whose start the clusters were made; -1 if there are none yet."""

    def __init__(self, options: InterclrOptions) -> None:
        super().__init__(options)
        self.compares_images = False

    def prepare(self, training_images: int | None = None, map_widths: Sequence[int] = ()) -> None:
        images, width = training_images or 0, self.options.out_dim
        start = torch.randn(images, width, generator=torch.Generator().manual_seed(1))
        self.register_buffer("memory", F.normalize(start, dim=1))
        self.register_buffer("pseudo_labels", torch.zeros(images, dtype=torch.long))
        clusters = max(2, images // self.options.images_per_cluster)
        self.register_buffer("centroids", torch.zeros(clusters, width))
        self.register_buffer("clustered_in", torch.tensor(-1))

    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: Head | None = None) -> Tensor:
        raise TypeError("interclr compares images with others: call attract_samples")

    def attract_samples(
        self,
        student: Sequence[HeadOutput],
        teacher: Sequence[HeadOutput],
        head: Head | None = None,
        samples: Samples | None = None,
    ) -> Tensor:
        assert samples is not None
        intra = super().attract(student, teacher, head)
        if not self.compares_images:
            return intra
        queries = [units(view) for view in two_views("interclr", student)][: 2 if self.options.symmetric else 1]
        inter = torch.stack([self._between(*of_view) for of_view in zip(queries, samples.indices, strict=False)])
        return (1 - self.options.inter_weight) * intra + self.options.inter_weight * inter.mean()

    def _between(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Mean of -log [exp((q.p - margin) / T) / (exp((q.p - margin) / T) + sum_n exp(q.n / T))] over queries.

        Args:
            queries: unit vectors float32 [N, K].
            rows: int64 [N], the queries' images.
        """
        pool = max(1, round(self.options.pool_share * len(self.memory)))
        cosines = scaled_products(queries, self.memory, 1.0)
        # In each row, the first number chooses the positive, and the others order the pool.
        drawn = uniform_rows(len(queries), 1 + pool, device=queries.device)
        positives, order = drawn[:, 0], drawn[:, 1:]
        own = self.pseudo_labels[rows]
        positive = cosines.gather(1, self._same_label(own, positives).unsqueeze(1)) - self.options.margin
        nearby = cosines.detach().topk(pool, dim=1).indices
        is_other = self.pseudo_labels[nearby] != own.unsqueeze(1)
        # The pool's images in random order, with those of the query's label last.
        first = (order + is_other).topk(min(self.options.negatives, pool), dim=1).indices
        negative = cosines.gather(1, nearby.gather(1, first))
        negative = negative.masked_fill(~is_other.gather(1, first), -torch.inf)
        logits = torch.cat([positive, negative], dim=1) / self.options.temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def _same_label(self, labels: Tensor, share: Tensor) -> Tensor:
        """One image int64 [N] for each of ``labels`` [N]: the one after a share ``share`` [N] of all images with that
        label."""
        by_label, images = self.pseudo_labels.sort(stable=True)
        start = torch.searchsorted(by_label, labels)
        count = torch.searchsorted(by_label, labels, right=True) - start
        return images[start + torch.minimum((share * count).long(), count - 1)]

    @torch.no_grad()
    def observe_samples(self, teacher: Sequence[HeadOutput], samples: Samples | None) -> None:
        """Replace the entries of this step's images and, once there are clusters, their pseudo-labels."""
        assert samples is not None
        self.observe(teacher)
        for view, rows in zip(teacher, gather_samples(samples.indices), strict=True):
            keys = gather_rows(units(view).detach())
            self.memory.index_copy_(0, rows, keys)
            if self.compares_images:
                self.pseudo_labels.index_copy_(0, rows, nearest(keys, self.centroids))

    @torch.no_grad()
    def start_epoch(self, epoch: int) -> None:
        """Make or repair the clusters, but not twice when a resumed run starts the same epoch again."""
        self.compares_images = epoch >= self.options.clustering_epoch
        made_in = int(self.clustered_in)
        if not self.compares_images or made_in >= epoch:
            return
        clusters = len(self.centroids)
        labels = spherical_k_means(self.memory, clusters, 20) if made_in < 0 else self.pseudo_labels
        # On a GPU the order of additions may differ between processes.
        labels = from_first_process(mend(self.memory, labels, clusters, self.options.min_cluster))
        self.pseudo_labels.copy_(labels)
        self.centroids.copy_(from_first_process(cluster_means(self.memory, labels, clusters)))
        self.clustered_in.fill_(epoch)
