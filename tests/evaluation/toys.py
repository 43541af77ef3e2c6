"""Small stores and backbones that use the real preparation and the real interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.backbones import Backbone
from clever.data import DataOptions, Store, prepare

SIDE = 8


def store_of(
    folder: Path,
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
) -> Store:
    """A prepared store of images uint8 [N, H, W, 3]."""
    root = folder / "arrays"
    root.mkdir(parents=True)
    for name, array in (
        ("train_images", train_images),
        ("train_labels", train_labels),
        ("test_images", test_images),
        ("test_labels", test_labels),
    ):
        np.save(root / f"{name}.npy", array)
    return prepare(DataOptions(source="arrays", root=str(root)), folder / "store", progress=False)


def coloured(folder: Path, classes: int, noise: int = 60, train: int = 96, test: int = 60) -> Store:
    """Noisy images of 8 px with one random pattern per class."""
    draw = np.random.default_rng(0)
    patterns = draw.integers(0, 256, (classes, SIDE, SIDE, 3))

    def images(n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        labels = np.arange(n, dtype=np.int64) % classes
        noisy = patterns[labels] + draw.integers(-noise, noise + 1, (n, SIDE, SIDE, 3))
        return noisy.clip(0, 255).astype(np.uint8), labels

    return store_of(folder, *images(train), *images(test))


class TwoParts(Backbone):
    """A fixed random projection of an image to twelve numbers, times ``scale``, plus ``shift``."""

    def __init__(self, scale: float = 1.0, seed: int = 0, shift: float = 0.0) -> None:
        super().__init__("two_parts", 12)
        self._shift = shift
        weight = torch.randn(3 * SIDE * SIDE, 12, generator=torch.Generator().manual_seed(seed)) / 16
        self.register_buffer("weight", weight * scale)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.get_buffer("weight") + self._shift


class Columns(TwoParts):
    """Only some columns of the projection."""

    def __init__(self, columns: slice) -> None:
        super().__init__()
        self._columns = columns
        self.feature_dim = len(range(*columns.indices(12)))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, self._columns]


class Blocks(TwoParts):
    """A transformer's interface: the projection is the final block's output; earlier blocks give other vectors."""

    has_blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[int] = set()

    def last_blocks(self, images: Tensor, n: int) -> list[Tensor]:
        self.asked.add(n)
        return [TwoParts(seed=block)(images) for block in reversed(range(n))]
