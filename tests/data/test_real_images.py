from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from clever.data import Batches, DataOptions, prepare


def test_cifar10_has_its_known_moments(real_data: Path, tmp_path: Path) -> None:
    store = prepare(DataOptions(source="cifar10", root=str(real_data / "cifar10")), tmp_path / "store")
    np.testing.assert_allclose(store.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(store.std, (0.2470, 0.2435, 0.2616), atol=5e-5)
    assert store.info["splits"]["train"]["per_class"] == [5000] * 10
    assert store.info["splits"]["test"]["per_class"] == [1000] * 10


def test_photographs_equal_torchvision(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "caltech20"
    transform = Compose([Resize(64, InterpolationMode.BICUBIC), CenterCrop(64), PILToTensor()])
    expected = ImageFolder(str(root / "val"), transform)
    split = prepare(DataOptions(source="image_folder", root=str(root), image_size=64), tmp_path / "store").split("test")
    assert len(split) == len(expected)
    batch = split.images(range(len(split)))  # type: ignore[arg-type]
    assert torch.equal(batch.pixels, torch.stack([image for image, _ in expected]))
    assert batch.labels.tolist() == expected.targets


def test_encoded_photographs_equal_torchvision(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "caltech20"
    expected = ImageFolder(str(root / "val"), PILToTensor())
    options = DataOptions(source="image_folder", root=str(root), format="encoded")
    split = prepare(options, tmp_path / "store").split("test")
    for batch in Batches(split, 64, seed=0, device="cpu", drop_last=False).epoch(0):
        for pixels, (height, width), row in zip(
            batch.pixels, batch.sizes.tolist(), batch.indices.tolist(), strict=True
        ):
            assert torch.equal(pixels[:, :height, :width], expected[row][0])
