"""Tiny data sets, created on demand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

FolderMaker = Callable[..., Path]
ArraysMaker = Callable[..., Path]


def noise(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """An image folder with `train` and `test` images (PNG, of differing sizes) in each of `classes`."""

    def make(
        name: str = "photos",
        classes: tuple[str, ...] = ("cat", "dog"),
        train: int = 3,
        test: int = 2,
        second: str = "val",
    ) -> Path:
        root = tmp_path / name
        for label, folder in enumerate(classes):
            for split, count in (("train", train), (second, test)):
                (root / split / folder).mkdir(parents=True)
                for number in range(count):
                    seed = 1000 * label + 10 * number + (split == "train")
                    pixels = noise(seed, 12 + number, 20 - 3 * number)
                    Image.fromarray(pixels).save(root / split / folder / f"{number}.png")
        return root

    return make


@pytest.fixture
def make_arrays(tmp_path: Path) -> ArraysMaker:
    """A folder with the four arrays; keyword arguments replace single arrays, and None leaves one out."""

    def make(name: str = "arrays", train: int = 20, test: int = 7, side: int = 6, **replaced: object) -> Path:
        root = tmp_path / name
        root.mkdir()
        rng = np.random.default_rng(5)
        arrays: dict[str, object] = {
            "train_images": rng.integers(0, 256, (train, side, side, 3), dtype=np.uint8),
            "train_labels": np.arange(train) % 4,
            "test_images": rng.integers(0, 256, (test, side, side, 3), dtype=np.uint8),
            "test_labels": np.arange(test) % 4,
        }
        for key, array in (arrays | replaced).items():
            if array is not None:
                np.save(root / f"{key}.npy", array)  # type: ignore[arg-type]
        return root

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real images that the environment variable CLEVER_REAL_DATA names."""
    folder = os.environ.get("CLEVER_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real images: set CLEVER_REAL_DATA to a folder with cifar10/ and caltech20/")
    return Path(folder)
