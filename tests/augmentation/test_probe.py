"""The probe's training view against torchvision's resized_crop: within 1.01/255, a rounded resize."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.functional as tvf
from torch import Tensor
from torchvision.transforms import InterpolationMode

from clever.augmentation import probe_views
from clever.augmentation.sample import Distributions, draw_uniforms, make_table
from clever.errors import UserError
from clever.randomness import make_generator


def test_equals_torchvision(images: Callable[..., Tensor]) -> None:
    sizes = torch.tensor([[80, 70], [75, 99], [44, 60], [100, 100]])
    pixels = images(4, 100, 100)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    ours = probe_views(pixels, sizes, make_generator(1, "probe"), image_size=32, mean=mean, std=std)
    wanted = Distributions(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5)
    table = make_table(draw_uniforms(4, make_generator(1, "probe")), sizes, wanted)
    assert 0 < table["flip"].sum() < 4
    for row in range(4):
        box = [int(table[f"crop_{part}"][row]) for part in ("top", "left", "height", "width")]
        height, width = sizes[row].tolist()
        image = tvf.resized_crop(
            pixels[row, :, :height, :width], *box, [32, 32], InterpolationMode.BILINEAR, antialias=True
        )
        image = tvf.hflip(image) if table["flip"][row] else image
        theirs = tvf.normalize(image.float() / 255, mean, std)
        scale = torch.tensor(std).view(3, 1, 1)
        assert ((ours[row] - theirs) * scale).abs().max() <= 1.01 / 255


def test_wrong_input_is_named(images: Callable[..., Tensor]) -> None:
    with pytest.raises(UserError, match="uint8"):
        probe_views(
            images(2, 40, 40).float(),
            torch.full((2, 2), 40),
            make_generator(0),
            image_size=32,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
        )
