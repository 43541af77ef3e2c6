"""A tiny 3DIEBench: photographs whose blocks of colour encode their latents."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clever import threediebench
from clever.backbones import Backbone
from clever.data import DataOptions, Store, prepare

SIDE = 16

PI = math.pi
LOW = np.array([-PI / 2, -PI / 2, -PI / 2, 0, 0, 0, 0])
HIGH = np.array([PI / 2, PI / 2, PI / 2, 1, PI / 4, 2 * PI, 1])
"""The limits between which the data set's latents are uniformly distributed."""


def objects_store(folder: Path, objects: int = 5, seed: int = 0) -> Store:
    """A store of two classes, each with this many objects of 50 photographs; a fifth of the objects are the test split.

    A photograph has four blocks of one colour each. In the first three blocks, red shows rotation_x, y and z, and green
    shows the two hues and noise. In the fourth block, red is the class. Blue is noise everywhere.
    """
    draw = np.random.default_rng(seed)
    for number in range(2 * objects):
        place = folder / "source" / f"synset{number % 2}" / f"object{number}"
        place.mkdir(parents=True)
        for view in range(50):
            latents = draw.uniform(LOW, HIGH).astype(np.float32)
            share = (latents - LOW) / (HIGH - LOW)
            blocks = draw.uniform(0, 1, (4, 3))
            blocks[:3, 0] = share[threediebench.ROTATION]
            blocks[0, 1], blocks[1, 1] = share[threediebench.FLOOR_HUE], share[threediebench.LIGHT_HUE]
            blocks[3, 0] = number % 2
            pixels = np.kron(blocks.reshape(2, 2, 3), np.ones((8, 8, 1))) * 215 + 20
            Image.fromarray(pixels.round().astype(np.uint8)).save(
                place / f"image_{view}.jpg", quality=100, subsampling=0
            )
            np.save(place / f"latent_{view}.npy", latents)
    options = DataOptions(source="threediebench", root=str(folder / "source"), image_size=SIDE)
    return prepare(options, folder / "store", progress=False)


class BlockColours(Backbone):
    """[IR | EF] = [blue of the four blocks, green of the last block, the class | the colours that show rotation and
    hues]."""

    def __init__(self) -> None:
        super().__init__("block_colours", 12)

    def forward(self, images: Tensor) -> Tensor:
        red, green, blue = (
            torch.nn.functional.avg_pool2d(images, SIDE // 2).flatten(2).unbind(1)  # [N, 4] each
        )
        return torch.cat([blue, green[:, 3:], red[:, 3:], red[:, :3], green[:, :3]], 1)


IR_DIM = 6
