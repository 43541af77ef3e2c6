"""Colour operations against torchvision's functional forms on float images: 0.01/255 per operation, 0.05/255 for hue.

Against Pillow, which rounds to whole grey levels and keeps the hue in 256 steps: 1/255 for brightness, 2/255 for
contrast, saturation and grayscale, and for hue a mean of 2.5/255.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from PIL import Image
from torch import Tensor

from clever.augmentation import colour

FACTORS = torch.tensor([0.6, 0.83, 1.0, 1.21, 1.4, 0.0])
SHIFTS = torch.tensor([-0.1, 0.0, 0.1, 0.5, -0.5, 0.037])
ADJUST = [
    (colour.adjust_brightness_, tvf.adjust_brightness, FACTORS, 0.01, 1.0),
    (colour.adjust_contrast_, tvf.adjust_contrast, FACTORS, 0.01, 2.0),
    (colour.adjust_saturation_, tvf.adjust_saturation, FACTORS, 0.01, 2.0),
    (colour.adjust_hue_, tvf.adjust_hue, SHIFTS, 0.05, None),
]
IDS = ["brightness", "contrast", "saturation", "hue"]


@pytest.mark.parametrize(("ours", "theirs", "factors", "tolerance", "_pillow"), ADJUST, ids=IDS)
def test_equals_torchvision(
    images: Callable[..., Tensor],
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    factors: Tensor,
    tolerance: float,
    _pillow: float | None,
) -> None:
    batch = images(len(factors), 30, 26).float() / 255
    batch[0, :, :5] = 0.25
    batch[1, :, :5] = 0.0
    batch[2, 0, :9] = batch[2, 1, :9]
    adjusted = ours(batch.clone(), factors)
    for row, factor in enumerate(factors.tolist()):
        torch.testing.assert_close(adjusted[row], theirs(batch[row], factor), rtol=0, atol=tolerance / 255)


@pytest.mark.parametrize(("ours", "theirs", "factors", "_tolerance", "pillow"), ADJUST, ids=IDS)
def test_is_close_to_pillow(
    images: Callable[..., Tensor],
    ours: Callable[..., Tensor],
    theirs: Callable[..., object],
    factors: Tensor,
    _tolerance: float,
    pillow: float | None,
) -> None:
    batch = images(len(factors), 64, 64)
    adjusted = ours(batch.float() / 255, factors) * 255
    for row, factor in enumerate(factors.tolist()):
        image = theirs(Image.fromarray(batch[row].permute(1, 2, 0).numpy()), factor)
        difference = (adjusted[row] - torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)).abs()
        if pillow is None:
            assert difference.mean() < 2.5
        else:
            assert difference.max() <= pillow


def test_grayscale_and_solarise_equal_torchvision(images: Callable[..., Tensor]) -> None:
    batch = images(3, 20, 20).float() / 255
    torch.testing.assert_close(colour.grayscale(batch), tvf.rgb_to_grayscale(batch, 3), rtol=0, atol=0.01 / 255)
    assert torch.equal(colour.solarise(batch, 128), tvf.solarize(batch, 128 / 255))
    levels = torch.arange(256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    solarised = (colour.solarise(levels.float() / 255, 128) * 255).round()
    assert torch.equal(solarised, torch.where(levels < 128, levels, 255 - levels).float())


def all_orders() -> tuple[Tensor, Tensor, Tensor]:
    """A table with every order once, then two rows without jitter; the factors differ between rows."""
    order = torch.tensor(list(itertools.permutations(range(4))) + [[0, 1, 2, 3]] * 2)
    applied = torch.tensor([True] * 24 + [False] * 2)
    generator = torch.Generator().manual_seed(1)
    factors = torch.rand(26, 4, generator=generator) * 0.8 + 0.6
    factors[:, 3] = factors[:, 3] * 0.2 - 0.2
    return applied, order, factors


@pytest.mark.parametrize("way", ["runs", "position"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_order_is_kept(images: Callable[..., Tensor], way: str, shuffled: bool) -> None:
    applied, order, factors = all_orders()
    if shuffled:
        rows = torch.randperm(26, generator=torch.Generator().manual_seed(2))
        applied, order, factors = applied[rows], order[rows], factors[rows]
    batch = images(26, 24, 24).float() / 255
    jitter = colour.jitter_by_runs if way == "runs" else colour.jitter_by_position
    ours = jitter(batch.clone(), applied, order, factors)
    steps = (tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation, tvf.adjust_hue)
    for row in range(26):
        expected = batch[row]
        for number in order[row].tolist() if applied[row] else []:
            expected = steps[number](expected, float(factors[row, number]))
        torch.testing.assert_close(ours[row], expected, rtol=0, atol=0.2 / 255)


def test_order_matters(images: Callable[..., Tensor]) -> None:
    batch = images(1, 24, 24).float() / 255
    factors, applied = torch.tensor([[1.4, 0.6, 1.4, 0.1]]), torch.tensor([True])
    forward = colour.jitter_by_runs(batch.clone(), applied, torch.tensor([[0, 1, 2, 3]]), factors)
    backward = colour.jitter_by_runs(batch.clone(), applied, torch.tensor([[3, 2, 1, 0]]), factors)
    assert (forward - backward).abs().max() > 5 / 255


def test_codes_distinguish_orders() -> None:
    applied, order, _ = all_orders()
    code = colour.jitter_code(applied, order)
    assert len(set(code[:24].tolist())) == 24
    assert code[24:].tolist() == [-1, -1]
