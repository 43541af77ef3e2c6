"""Core-tuning: fine-tuning with mixed features and a contrastive loss between classes (Zhang et al. 2021, arXiv
2102.06605).

Details follow the authors' code (Vanint/Core-tuning, Core-tuning.py, 3547790).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.evaluation.options.core_tuning import CoreTuningOptions
from clever.randomness import derive_seed, seeded


class Mixed(NamedTuple):
    """Features of M images and mixtures of images."""

    features: Tensor
    """[M, D]."""
    labels: Tensor
    """Shares of classes [M, C], each row with sum 1."""
    classes: Tensor
    """int64 [M]: the class of a row with a single class; different negative numbers for all other rows."""


class CoreTuning(nn.Module):
    """The loss of Core-tuning, with the projection for its contrastive term.

    N hard negatives and N hard positives are added to a batch of N features. The loss is the cross-entropy of all 3N
    with their mixed labels, plus a weighted contrastive term in which two of them are positives if they have the same
    single class.

    We deliberately differ from the authors' program in two points. The features themselves keep their gradient, which
    the program stops. An image's hardest positive is always another image of its class, if there is one (the program
    may choose one of another class). As in the program, the weight 1 - p of the focal contrast has a gradient, and the
    mean is over all 3N, not over the positives.

    Args:
        width: D, the width of the features.
        seed: seed of the projection's weights.
    """

    def __init__(self, options: CoreTuningOptions, width: int, seed: int) -> None:
        super().__init__()
        self.options = options
        with seeded(derive_seed(seed, "core-tuning")):
            self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, options.projection_dim))

    def loss(self, features: Tensor, labels: Tensor, classifier: nn.Linear) -> Tensor:
        """The loss, a scalar; draws from the global generator.

        Args:
            features: float32 [N, D].
            labels: int64 [N].
            classifier: [D] to [C].
        """
        rows, device = len(labels), features.device
        mixed = mix(
            features,
            labels,
            classifier.out_features,
            torch.randperm(rows, device=device),
            torch.rand(rows, device=device).clamp_min(self.options.least_share),
            torch.rand(rows, device=device),
        )
        smooth = F.cross_entropy(classifier(mixed.features), mixed.labels)
        projections = F.normalize(self.projector(mixed.features), dim=1)
        return smooth + self.options.weight * focal_contrast(projections, mixed.classes, self.options.temperature)


def mix(
    features: Tensor, labels: Tensor, classes: int, partners: Tensor, negative_shares: Tensor, positive_shares: Tensor
) -> Mixed:
    """Features, then hard negatives, then hard positives, 3N in all.

    A hard negative is a (partner) + (1 - a) (image). A hard positive is b p + (1 - b) n, where p is the least similar
    other image of the class and n the most similar image of another class; the image itself if there is none.

    Args:
        features: float32 [N, D].
        labels: int64 [N] below ``classes``.
        partners: int64 [N], a permutation.
        negative_shares: a, [N]; positive_shares: b, [N].
    """
    rows = torch.arange(len(labels), device=labels.device)
    units = F.normalize(features.detach(), dim=1)
    cosines = units @ units.T
    alike = labels.unsqueeze(1) == labels
    # Cosines of other images are within [-1, 1], so the image itself is chosen only if there is no candidate.
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    hardest_positive = cosines.masked_fill(~alike, 3.0).masked_fill(itself, 2.0).argmin(dim=1)
    hardest_negative = cosines.masked_fill(alike, -3.0).masked_fill(itself, -2.0).argmax(dim=1)
    first = torch.cat([rows, partners, hardest_positive])
    second = torch.cat([rows, rows, hardest_negative])
    share = torch.cat([torch.ones_like(negative_shares), negative_shares, positive_shares]).unsqueeze(1)
    one_hot = F.one_hot(labels, classes).to(features.dtype)
    pure = labels[first] == labels[second]
    return Mixed(
        share * features[first] + (1 - share) * features[second],
        share * one_hot[first] + (1 - share) * one_hot[second],
        torch.where(pure, labels[first], -1 - torch.arange(len(first), device=labels.device)),
    )


def focal_contrast(projections: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """-1/A sum_i 1/M sum over positives j of (1 - p_ij) log p_ij, where A is the number of rows with a positive.

    p_ij is the softmax over j != i of the cosines divided by the temperature; j is a positive of i if it has the same
    class.

    Args:
        projections: float32 [M, K], unit vectors.
        classes: int64 [M].

    >>> import torch
    >>> rows = torch.eye(3)  # p is 1/2 everywhere; two rows have one positive each
    >>> round(focal_contrast(rows, torch.tensor([0, 0, 1]), 1.0).item(), 4)  # log(2) / 2 / 3
    0.1155
    """
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    logits = (projections @ projections.T / temperature).masked_fill(itself, -torch.inf)
    log_shares = logits.log_softmax(dim=1).masked_fill(itself, 0.0)
    positive = (classes.unsqueeze(1) == classes) & ~itself
    focal = (1 - log_shares.exp()) * log_shares * positive
    return -focal.mean(dim=1).sum() / positive.any(dim=1).sum().clamp_min(1)
