"""The crop against torchvision's resized_crop and Pillow's resize, image by image.

Tolerances in 1/255: the matrix form is within 0.01 of torchvision's float form, except where torchvision overshoots
black or white between its two passes (Pillow and our code do not). It is within 1.5 of torchvision's uint8 form and of
Pillow everywhere. The native form is within 1 of Pillow and of torchvision's uint8 form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode

from clever.augmentation.crop import Way, choose_way, resampling_matrix, resized_crop, table_box

MODES = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}
BOXES = torch.tensor([[0, 0, 40, 50], [3, 7, 20, 9], [10, 2, 5, 30], [39, 49, 1, 1], [0, 1, 24, 24], [5, 5, 35, 45]])
FLIP = torch.tensor([False, True, False, True, True, False])


def crop_all(pixels: Tensor, size: int, interpolation: str, way: Way) -> Tensor:
    names = ("crop_top", "crop_left", "crop_height", "crop_width")
    box = table_box(dict(zip(names, BOXES.unbind(1), strict=True)), size)
    rows = torch.arange(len(BOXES))
    return resized_crop(pixels, rows, box, FLIP, size, interpolation, way)  # type: ignore[arg-type]


def reference(image: Tensor, row: int, size: int, interpolation: str) -> Tensor:
    top, left, height, width = BOXES[row].tolist()
    crop = tvf.resize(
        image[:, top : top + height, left : left + width], [size, size], MODES[interpolation], antialias=True
    )
    return crop.flip(2) if FLIP[row] else crop


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [24, 17, 64])
def test_matrix_form_equals_torchvision(images: Callable[..., Tensor], interpolation: str, size: int) -> None:
    pixels = images(len(BOXES), 40, 50) // 2 + 64
    ours = crop_all(pixels, size, interpolation, "matrix")
    for row in range(len(BOXES)):
        expected = reference(pixels[row].double() / 255, row, size, interpolation)
        torch.testing.assert_close(ours[row].double(), expected, rtol=0, atol=0.01 / 255)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [24, 17, 64])
@pytest.mark.parametrize(("way", "tolerance"), [("matrix", 1.5), ("native", 1.01)])
def test_both_forms_equal_torchvision_on_uint8(
    images: Callable[..., Tensor], interpolation: str, size: int, way: Way, tolerance: float
) -> None:
    pixels = images(len(BOXES), 40, 50)
    ours = crop_all(pixels, size, interpolation, way) * 255
    for row in range(len(BOXES)):
        expected = reference(pixels[row], row, size, interpolation).float()
        assert (ours[row] - expected).abs().max() <= tolerance


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("way", "tolerance"), [("matrix", 1.5), ("native", 1.01)])
def test_both_forms_equal_pillow(images: Callable[..., Tensor], interpolation: str, way: Way, tolerance: float) -> None:
    pixels = images(len(BOXES), 40, 50)
    ours = crop_all(pixels, 24, interpolation, way) * 255
    pillow = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    for row in range(len(BOXES)):
        top, left, height, width = BOXES[row].tolist()
        image = Image.fromarray(pixels[row].permute(1, 2, 0).numpy())
        image = image.crop((left, top, left + width, top + height)).resize((24, 24), pillow)
        expected = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        expected = expected.flip(2) if FLIP[row] else expected
        assert (ours[row] - expected).abs().max() <= tolerance


@pytest.mark.parametrize("way", ["matrix", "native"])
def test_nothing_outside_the_box_leaks_in(images: Callable[..., Tensor], way: Way) -> None:
    pixels = images(len(BOXES), 40, 50)
    painted = pixels.clone()
    for row, (top, left, height, width) in enumerate(BOXES.tolist()):
        outside = torch.ones(40, 50, dtype=torch.bool)
        outside[top : top + height, left : left + width] = False
        painted[row, :, outside] = 255 - painted[row, :, outside]
    assert not torch.equal(pixels, painted)
    assert torch.equal(crop_all(pixels, 24, "bicubic", way), crop_all(painted, 24, "bicubic", way))


@pytest.mark.parametrize("way", ["matrix", "native"])
def test_each_row_selects_its_image(images: Callable[..., Tensor], way: Way) -> None:
    pixels = images(3, 20, 20)
    column = torch.tensor([0, 0, 0, 0])
    table = {"crop_top": column, "crop_left": column, "crop_height": column + 20, "crop_width": column + 20}
    box = table_box(table, 20)
    rows = torch.tensor([2, 0, 2, 1])
    ours = resized_crop(pixels, rows, box, torch.zeros(4, dtype=torch.bool), 20, "bicubic", way)
    torch.testing.assert_close(ours, pixels[rows].float() / 255, rtol=0, atol=1e-6)


def test_matrices_are_weighted_means() -> None:
    start, length = torch.tensor([0, 4, 9]), torch.tensor([30, 13, 2])
    full, offset = torch.tensor([12, 20, 12]), torch.tensor([0, 5, 0])
    matrix = resampling_matrix(start, length, full, offset, torch.zeros(3, dtype=torch.bool), 12, 30, "bicubic")
    torch.testing.assert_close(matrix.sum(2), torch.ones(3, 12))
    columns = torch.arange(30)
    for row in range(3):
        outside = (columns < start[row]) | (columns >= start[row] + length[row])
        assert matrix[row][:, outside].abs().sum() == 0


def test_form_is_chosen_by_device_and_size() -> None:
    assert choose_way(torch.device("cuda"), 300, 300) == "matrix"
    assert choose_way(torch.device("cpu"), 300, 300) == "native"
    assert choose_way(torch.device("cpu"), 32, 32) == "matrix"
