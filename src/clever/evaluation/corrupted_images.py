"""CIFAR-10-C, CIFAR-100-C and ImageNet-C as distributed by their authors (Hendrycks & Dietterich 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.corruptions import find_imagenet_c, read_cifar_c
from clever.evaluation.image_files import Images, read_image

_CIFAR = ("cifar10", "cifar100", "arrays")
"""Sources whose labels may be CIFAR's class numbers."""


class CorruptedImages:
    """The images of one corruption and severity, with ``labels`` int64 [N].

    The labels are CIFAR's class numbers, or the store's classes with the names of ImageNet-C's folders; classes that
    the store lacks are skipped.

    Raises:
        UserError: a file is missing or damaged, or it belongs to another data set than the store.
    """

    images: Images
    labels: Tensor

    def __init__(self, root: Path, name: str, severity: int, store: Store) -> None:
        if (root / "labels.npy").is_file():
            source = store.info["options"]["source"]
            images, labels = read_cifar_c(root, name, severity)
            if source not in _CIFAR or int(labels.max()) + 1 != len(store.classes):
                raise UserError(
                    f"{root}: holds CIFAR images of {int(labels.max()) + 1} classes, but the run's data have source "
                    f"{source} with {len(store.classes)} classes"
                )
            self.images, self.labels = images, torch.from_numpy(labels)
        else:
            found = find_imagenet_c(root, name, severity, store.classes)
            self.images = _Files([path for path, _ in found])
            self.labels = torch.tensor([label for _, label in found])


class _Files:
    """Image files that are read when they are needed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int, /) -> NDArray[np.uint8]:
        return read_image(self._paths[place])
