"""Blur against torchvision's gaussian_blur (0.02/255) and against Pillow's GaussianBlur, which the authors used.

Pillow blurs with three boxes, rounds, and repeats the border instead of reflecting it. On images with strong grain
the mean difference stays below 1.2/255 and, 8 pixels away from the border, every pixel within 8/255; where the blur
is narrower than half a pixel, where a sampled Gaussian and a box differ most, below 3.2/255 and within 20/255. (On
photographs the means are below 0.6/255.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from PIL import Image, ImageFilter
from torch import Tensor

from clever.augmentation.blur import blur_matrix, gaussian_blur, gaussian_kernel, kernel_half_width

SIGMA = torch.tensor([0.1, 0.35, 0.8, 1.3, 1.99])


@pytest.mark.parametrize("size", [16, 33, 96, 224])
def test_is_torchvisions(images: Callable[..., Tensor], size: int) -> None:
    batch = images(len(SIGMA), size, size).float() / 255
    half_width = kernel_half_width(2.0)
    ours = gaussian_blur(batch, SIGMA, half_width)
    for row, sigma in enumerate(SIGMA.tolist()):
        theirs = tvf.gaussian_blur(batch[row], [2 * half_width + 1] * 2, [sigma, sigma])
        torch.testing.assert_close(ours[row], theirs, rtol=0, atol=0.02 / 255)


@pytest.mark.parametrize("size", [96, 224])
def test_is_close_to_pillows(images: Callable[..., Tensor], size: int) -> None:
    batch = images(len(SIGMA), size, size)
    ours = gaussian_blur(batch.float(), SIGMA, kernel_half_width(2.0))
    for row, sigma in enumerate(SIGMA.tolist()):
        image = Image.fromarray(batch[row].permute(1, 2, 0).numpy()).filter(ImageFilter.GaussianBlur(sigma))
        difference = (ours[row] - torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)).abs()
        narrow = sigma < 0.5
        assert difference.mean() < (3.2 if narrow else 1.2)
        assert difference[:, 8:-8, 8:-8].max() < (20 if narrow else 8)


def test_kernel_holds_nearly_all_mass() -> None:
    half_width = kernel_half_width(2.0)
    kernel = gaussian_kernel(torch.tensor([2.0], dtype=torch.float64), half_width)
    full = gaussian_kernel(torch.tensor([2.0], dtype=torch.float64), 60)
    assert full[0, 60 - half_width : 61 + half_width].sum() > 1 - 1e-4
    torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))


def test_flat_images_stay_flat() -> None:
    matrix = blur_matrix(SIGMA, 12, 8)
    torch.testing.assert_close(matrix.sum(2), torch.ones(len(SIGMA), 12))


def test_kernel_wider_than_the_image_is_cut(images: Callable[..., Tensor]) -> None:
    batch = images(1, 6, 6).float() / 255
    ours = gaussian_blur(batch, torch.tensor([1.7]), 8)
    torch.testing.assert_close(ours[0], tvf.gaussian_blur(batch[0], [11, 11], [1.7, 1.7]), rtol=0, atol=0.02 / 255)
