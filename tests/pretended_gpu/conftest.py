"""Stores of the two data sets whose views are not augmented images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clever.data import DataOptions, Store, prepare


@pytest.fixture(scope="session")
def spirographs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """32 training and 8 test images of 32 px, with their latents."""
    options = DataOptions(source="spirograph", train_limit=32, test_limit=8)
    return prepare(options, tmp_path_factory.mktemp("spirographs") / "store", progress=False)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A 3DIEBench of noise: two classes of five objects with 50 photographs of 16 px each."""
    folder = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for number in range(10):
        place = folder / "source" / f"synset{number % 2}" / f"object{number}"
        place.mkdir(parents=True)
        for view in range(50):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(place / f"image_{view}.jpg")
            np.save(place / f"latent_{view}.npy", draw.uniform(0.0, 0.7, 7).astype(np.float32))
    options = DataOptions(source="threediebench", root=str(Path(folder) / "source"), image_size=16)
    return prepare(options, folder / "store", progress=False)
