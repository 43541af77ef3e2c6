"""Spirographs (Foster et al., ICLR 2021), drawn by formula: a data set with known latents that needs no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from clever import spirograph
from clever.data.source import ArraySplit, Source, SplitName
from clever.randomness import make_generator
from clever.spirograph_images import draw, render

if TYPE_CHECKING:
    from clever.data.options import DataOptions

_CHUNK = 512


def read_spirograph(options: DataOptions) -> Source:
    """``train_limit`` training and ``test_limit`` test images (default 5000 and 1000), one per row of parameters.

    ``subset_seed`` seeds the rows; a larger number of rows begins with the same rows. An image is rendered in float64
    from the float32 latents that are stored with it, then rounded to whole grey levels. There is a single class.
    """
    return Source(
        classes=("spirograph",),
        train=_drawn("train", options.train_limit or spirograph.TRAIN_IMAGES, options.subset_seed),
        test=_drawn("test", options.test_limit or spirograph.TEST_IMAGES, options.subset_seed),
        origin="spirographs, by formula",
        latent_names=spirograph.NAMES,
    )


def _drawn(split: SplitName, count: int, seed: int) -> ArraySplit:
    latents = draw(count, make_generator(seed, "spirograph", split)).float()
    images = np.empty((count, spirograph.SIZE, spirograph.SIZE, 3), dtype=np.uint8)
    for start in range(0, count, _CHUNK):
        rendered = render(latents[start : start + _CHUNK].double())
        images[start : start + _CHUNK] = (rendered * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return ArraySplit(images, np.zeros(count, dtype=np.int64), latents=latents.numpy())
