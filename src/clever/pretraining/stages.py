"""Later stages of a chain of runs: batches of images that earlier runs find alike (MCL, arXiv 2402.11816).

A stage clusters the features of all earlier stages, and draws every batch from a single cluster. Features that
distinguish clusters then do not help to distinguish the images of a batch. The final representation is the
concatenation of all stages' features (protocol ``stages``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation import perturb
from clever.clustering import spherical_k_means
from clever.collectives import from_first_process
from clever.data import Batches, Store
from clever.earlier_runs import EarlierRun, open_earlier
from clever.pretraining.options import StageOptions

BATCH = 256
"""Number of images in a forward pass of the backbone."""
ITERATIONS = 100
"""Number of iterations of k-means, as in the authors' code."""


@dataclass(frozen=True)
class Stage:
    """The pseudo-labels of a stage, and the runs that they come from."""

    labels: Tensor
    """int64 [images]: two training images have the same pseudo-label if all earlier runs put them in the same
    cluster."""
    runs: list[dict[str, str]]
    """``folder`` and ``backbone_sha256`` of every earlier run, in order."""

    def described(self) -> dict[str, Any]:
        """For run.json: the runs, and the number of images of each pseudo-label."""
        return {"runs": self.runs, "images": torch.bincount(self.labels).tolist()}


def make_stage(
    options: StageOptions, store: Store, device: torch.device, workers: int = 0, known: Tensor | None = None
) -> Stage:
    """Cluster the training images by the features of every earlier run.

    Images are only resized, cropped and normalised. Each run's features are scaled to length 1 and clustered
    separately; the pseudo-label is the combination of the clusters. Spherical k-means is a choice of ours (the authors
    use scikit-learn's mini-batch k-means on the same unit vectors); the combination is the one described in the paper,
    not that of the authors' released code, which uses the last run's clusters for all runs.

    Args:
        known: the labels of an interrupted run, which are not computed again.

    Raises:
        UserError: see :func:`open_earlier`.
    """
    earlier = [open_earlier(folder, store.checksum) for folder in options.after]
    runs = [{"folder": run.folder, "backbone_sha256": run.sha256} for run in earlier]
    if known is None:
        known = combined([_clusters(run, store, options.clusters, device, workers) for run in earlier])
    return Stage(known.cpu(), runs)


def combined(partitions: Sequence[Tensor]) -> Tensor:
    """One label, int64 [N] from 0, for each combination of labels [N] that occurs.

    >>> import torch
    >>> combined([torch.tensor([0, 0, 1, 1]), torch.tensor([3, 1, 1, 1])])
    tensor([1, 0, 2, 2])
    """
    labels: Tensor = torch.unique(torch.stack(list(partitions), dim=1), dim=0, return_inverse=True)[1]
    return labels


@torch.no_grad()
def _clusters(run: EarlierRun, store: Store, clusters: int, device: torch.device, workers: int) -> Tensor:
    split = store.split("train")
    batches = Batches(
        split, min(BATCH, len(split)), seed=0, device=device, shuffle=False, drop_last=False, workers=workers
    )
    backbone = run.backbone.to(device)
    found = []
    for batch in batches.epoch(0):
        views = perturb(
            "orig",
            batch.pixels,
            batch.sizes,
            image_size=run.image_size,
            resize_size=run.image_size,
            mean=store.mean,
            std=store.std,
            seed=0,
            indices=batch.indices.cpu(),
        )
        found.append(F.normalize(backbone(views).float(), dim=1))
    # On a GPU the last bits may differ between processes.
    return from_first_process(spherical_k_means(torch.cat(found), min(clusters, len(split)), ITERATIONS))
