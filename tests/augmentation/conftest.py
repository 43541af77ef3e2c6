"""Test images, and a reference implementation of the augmentations: image by image, with torchvision's functional
forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from torch import Tensor
from torchvision.transforms import InterpolationMode

from clever.augmentation.elastic import displacement

Table = dict[str, Tensor]


def make_images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth colour fields with edges and a little noise: uint8 [count, 3, height, width], all levels used."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    stripes = (torch.arange(width) // 5 % 2) * 0.3 * torch.rand(count, 3, 1, 1, generator=generator)
    grain = 0.1 * torch.randn(count, 3, height, width, generator=generator)
    return ((smooth * 1.3 - 0.2 + stripes + grain) * 255).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture
def images() -> Callable[..., Tensor]:
    return make_images


def sequential(
    pixels: Tensor,
    row: Table,
    size: int,
    *,
    alpha: float,
    sigma: float,
    half_width: int,
    interpolation: InterpolationMode = InterpolationMode.BICUBIC,
    rotates_after_blur: bool = False,
) -> Tensor:
    """Apply one row of a table to one image with torchvision, one operation after the other, without normalisation.

    Args:
        pixels: uint8 [3, H, W] without padding.
        row: the row of a parameter table.

    Returns:
        float32 [3, size, size] in [0, 1].
    """
    top, left, height, width = (int(row[f"crop_{part}"]) for part in ("top", "left", "height", "width"))
    image = tvf.crop(pixels.float() / 255, top, left, height, width)
    image = tvf.resize(image, [size, size], interpolation, antialias=True).clamp(0, 1)
    if row["flip"]:
        image = tvf.horizontal_flip(image)

    def rotate_and_distort(image: Tensor) -> Tensor:
        if row["angle"] != 0:
            image = tvf.rotate(image, float(row["angle"]), fill=0)
        if row["elastic_applied"]:
            field = displacement(row["elastic_seed"].view(1), size, alpha, sigma)
            image = tvf.elastic(image, field.permute(0, 2, 3, 1), fill=[0.0])
        return image

    if not rotates_after_blur:
        image = rotate_and_distort(image)
    if row["jitter_applied"]:
        steps = (
            lambda x: tvf.adjust_brightness(x, float(row["brightness"])),
            lambda x: tvf.adjust_contrast(x, float(row["contrast"])),
            lambda x: tvf.adjust_saturation(x, float(row["saturation"])),
            lambda x: tvf.adjust_hue(x, float(row["hue"])),
        )
        for number in row["jitter_order"].tolist():
            image = steps[number](image)
    if row["grayscale"]:
        image = tvf.rgb_to_grayscale(image, num_output_channels=3)
    if row["blur_applied"]:
        image = tvf.gaussian_blur(image, [2 * half_width + 1] * 2, [float(row["blur_radius"])] * 2)
    if rotates_after_blur:
        image = rotate_and_distort(image)
    if row["solarise_applied"]:
        image = tvf.solarize(image, 128 / 255)
    return image


@pytest.fixture
def torchvision_view() -> Callable[..., Tensor]:
    return sequential
