"""Rotation against torchvision's: both pick the same pixel, except where rounding decides between two neighbours.

Tolerance: at most 0.02 % of the pixels differ (in the cases below, only in the largest).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.functional as tvf
from torch import Tensor

from clever.augmentation.rotate import rotate


@pytest.mark.parametrize("size", [8, 15, 32, 96, 224])
def test_equals_torchvision(images: Callable[..., Tensor], size: int) -> None:
    angle = torch.cat([torch.tensor([0.0, 90.0, -90.0, 180.0, 45.0]), torch.linspace(-179.3, 178.9, 27)])
    batch = images(len(angle), size, size).float() / 255
    ours = rotate(batch, angle)
    theirs = torch.stack([tvf.rotate(image, float(a), fill=0.0) for image, a in zip(batch, angle, strict=True)])
    assert (ours != theirs).any(1).float().mean() <= 2e-4


def test_quarter_turns_are_exact_and_counter_clockwise(images: Callable[..., Tensor]) -> None:
    batch = images(1, 32, 32).float()
    assert torch.equal(rotate(batch, torch.tensor([90.0])), batch.rot90(1, (2, 3)))
    assert torch.equal(rotate(batch, torch.tensor([180.0])), batch.rot90(2, (2, 3)))


def test_corners_are_black() -> None:
    turned = rotate(torch.ones(1, 3, 33, 33), torch.tensor([45.0]))
    assert turned[0, :, [0, 0, -1, -1], [0, -1, 0, -1]].abs().sum() == 0
    assert turned[0, :, 16, 16].min() == 1
