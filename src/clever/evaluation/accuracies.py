"""Accuracies in percent, from predictions or from the rank of the right class."""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Percent of predictions int64 [N] that equal the labels int64 [N]."""
    return 100.0 * int((predictions == labels).sum()) / len(labels)


def mean_class_accuracy(predictions: Tensor, labels: Tensor) -> float:
    """The mean over classes of each class's accuracy, in percent; classes without an image are skipped.

    This is the standard metric for FGVC-Aircraft, Caltech-101, Oxford Flowers and Oxford-IIIT Pets, whose test classes
    differ in size.
    """
    images = torch.bincount(labels)
    right = torch.bincount(labels[predictions == labels], minlength=len(images))
    present = images > 0
    return 100.0 * float((right[present].double() / images[present]).mean())


def right_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of classes ranked before the right one, int64 [N]. For equal logits, the lower class comes first."""
    right = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > right) | ((logits == right) & earlier)).sum(dim=1)


def rank_accuracies(ranks: Tensor, labels: Tensor, classes: int, *, mean_class: bool = False) -> dict[str, float]:
    """``top1``, ``top5`` with five classes or more, and ``mean_class`` if requested, in percent.

    Args:
        ranks: number of classes ranked before the right one, int64 [N].
        labels: int64 [N], on the same device.
        classes: number of classes; with fewer than five, ``top5`` would always be 100.
        mean_class: also compute :func:`mean_class_accuracy`.
    """
    found = {"top1": 100.0 * int((ranks < 1).sum()) / len(ranks)}
    if classes >= 5:
        found["top5"] = 100.0 * int((ranks < 5).sum()) / len(ranks)
    if mean_class:
        found["mean_class"] = mean_class_accuracy(torch.where(ranks < 1, labels, -1), labels)
    return found
