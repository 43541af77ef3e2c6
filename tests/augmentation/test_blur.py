"""Blur against Pillow's GaussianBlur, which the authors used, and against torchvision's gaussian_blur (0.02/255).

Pillow rounds to whole grey levels after each of its six passes; the results may differ only by this rounding error of
half a level and by its amplification in later passes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from PIL import Image, ImageFilter
from torch import Tensor

from clever.augmentation.blur import (
    blur,
    blur_matrix,
    box_kernel,
    box_matrix,
    box_reach,
    gaussian_blur,
    gaussian_kernel,
    kernel_half_width,
)

SIGMA = torch.tensor([0.1, 0.35, 0.8, 1.3, 1.99])


@pytest.mark.parametrize("size", [16, 33, 96, 224])
def test_equals_torchvision(images: Callable[..., Tensor], size: int) -> None:
    batch = images(len(SIGMA), size, size).float() / 255
    half_width = kernel_half_width(2.0)
    ours = gaussian_blur(batch, SIGMA, half_width)
    for row, sigma in enumerate(SIGMA.tolist()):
        theirs = tvf.gaussian_blur(batch[row], [2 * half_width + 1] * 2, [sigma, sigma])
        torch.testing.assert_close(ours[row], theirs, rtol=0, atol=0.02 / 255)


@pytest.mark.parametrize("size", [5, 13, 32, 96])
def test_equals_pillow(size: int) -> None:
    sigma = torch.cat([torch.arange(0.1, 1.0, 0.1), torch.tensor([1.0, 1.3, 1.6329, 1.6331, 2.0])])
    batch = torch.randint(0, 256, (len(sigma), 3, size, size), generator=torch.Generator().manual_seed(size))
    ours = blur(batch.float(), sigma, 2.0, "pillow")
    for row, deviation in enumerate(sigma.tolist()):
        pixels = batch[row].to(torch.uint8).permute(1, 2, 0).numpy()
        theirs = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(deviation)))
        difference = (ours[row] - torch.from_numpy(theirs.copy()).permute(2, 0, 1)).abs()
        assert difference.mean() < 1.2
        assert difference.max() <= 3.0
        if deviation > 0.5:  # below, the centre's weight is so large that all passes round nearly equal values
            assert difference.mean() < 0.65


@pytest.mark.parametrize(("sigma", "gain"), [(0.2, 0.93), (0.3, 0.83), (0.4, 0.71), (0.6, 0.435), (0.8, 0.192)])
def test_the_finest_stripes_keep_pillows_contrast(sigma: float, gain: float) -> None:
    """The gains were measured with Pillow; a Gaussian of standard deviation 0.2 would keep all contrast."""
    stripes = (torch.arange(40) % 2).float().expand(1, 3, 40, 40)
    blurred = blur(stripes, torch.tensor([sigma]), 2.0, "pillow")[0, 0, 20]
    assert (blurred[21] - blurred[20]).abs().item() == pytest.approx(gain, abs=0.01)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 1.7, 2.0])
def test_three_boxes_have_the_given_deviation_and_mass(sigma: float) -> None:
    reach = box_reach(2.0)
    kernel = box_kernel(torch.tensor([sigma]), reach)[0]
    tap = torch.arange(-reach, reach + 1)
    assert kernel.sum().item() == pytest.approx(1.0)
    assert (3 * (kernel * tap.square()).sum()).item() == pytest.approx(float(torch.tensor(sigma)) ** 2)


def test_copied_rows_give_the_whole_product() -> None:
    sigma, reach, size = torch.tensor([0.3, 1.2, 2.0]), box_reach(2.0), 40
    kernel = box_kernel(sigma, reach)
    once = torch.zeros(3, size, size, dtype=torch.float64)
    for row in range(size):
        for tap in range(-reach, reach + 1):
            once[:, row, min(max(row + tap, 0), size - 1)] += kernel[:, tap + reach]
    torch.testing.assert_close(box_matrix(sigma, size, reach).double(), once @ once @ once, rtol=0, atol=1e-7)


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
