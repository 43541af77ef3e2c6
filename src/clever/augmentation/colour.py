"""Colour jitter with per-image factors in a per-image order, grayscale and solarisation.

All functions work on float32 [N, 3, H, W] in [0, 1] and agree with torchvision's functional forms on such tensors. A
trailing underscore means in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

import torch
from torch import Tensor

from clever.augmentation.sample import Table

LUMA = (0.2989, 0.587, 0.114)
"""torchvision's weights of red, green and blue in the grey level."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def luma(images: Tensor) -> Tensor:
    """Grey levels [N, H, W]."""
    grey = images[:, 0] * LUMA[0]
    grey.add_(images[:, 1], alpha=LUMA[1])
    return grey.add_(images[:, 2], alpha=LUMA[2])


def adjust_brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """Scale all channels by ``factor`` [N]."""
    return images.mul_(_column(factor)).clamp_(0.0, 1.0)


def adjust_contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey level: ``factor`` [N] 0 is flat, 1 leaves the image unchanged."""
    red, green, blue = images.mean((2, 3)).unbind(1)
    mean = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    return images.mul_(_column(factor)).add_(_column((1.0 - factor) * mean)).clamp_(0.0, 1.0)


def adjust_saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image: ``factor`` [N] 0 is grey, 1 leaves the image unchanged."""
    grey = luma(images).mul_((1.0 - factor).view(-1, 1, 1))
    return images.mul_(_column(factor)).add_(grey.unsqueeze(1)).clamp_(0.0, 1.0)


def adjust_hue_(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue by ``shift`` [N] of a full circle, keeping value and saturation (HSV).

    Stretch r, g, b so that the smallest is 0 and the largest 1. Then the hue, in sixths of the circle, is a polynomial
    of them, except in the last sixth (red largest, green smallest), where 6 (1 - b) must be subtracted. Subtracting it
    wherever red is largest does no harm: b is 0 there, and 6 is a full circle. A channel of the result is the smallest
    value plus the chroma times a trapezoid of the hue. This avoids distinguishing six cases, because comparisons are
    slow.
    """
    bottom, chroma, hue = _turned(images, shift)
    for channel, ramp in zip(images.unbind(1), _trapezoids(hue), strict=True):
        torch.addcmul(bottom, chroma, ramp, out=channel)
    return images


def adjusted_hue(images: Tensor, shift: Tensor) -> Tensor:
    """:func:`adjust_hue_` into a new tensor."""
    bottom, chroma, hue = _turned(images, shift)
    return torch.stack([torch.addcmul(bottom, chroma, ramp) for ramp in _trapezoids(hue)], 1)


def _turned(images: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Smallest channel, chroma, and the shifted hue in [0, 6), [N, H, W] each."""
    red, green, blue = images.unbind(1)
    bottom = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(bottom)
    # If the chroma is 0, all differences below are 0 too, and the hue, whatever it is, is multiplied by 0.
    scale = chroma.clamp_min(1e-12).reciprocal_()
    r, g, b = ((channel - bottom).mul_(scale) for channel in (red, green, blue))
    hue = (b * -3.0).sub_(r).add_(2.0).mul_(g).addcmul_(b, r + 4.0)
    hue.addcmul_(b.neg_().add_(1.0), r.add_(1e-5).floor_(), value=6.0)
    hue.add_(6.0 * shift.view(-1, 1, 1))
    hue.sub_((hue * (1 / 6)).floor_().mul_(6.0))
    return bottom, chroma, hue


def _trapezoids(hue: Tensor) -> Iterator[Tensor]:
    """The shares of the chroma that red, green and blue get, in this order."""
    yield (hue - 3.0).abs_().sub_(1.0).clamp_(0.0, 1.0)
    yield (hue - 2.0).abs_().neg_().add_(2.0).clamp_(0.0, 1.0)
    yield (hue - 4.0).abs_().neg_().add_(2.0).clamp_(0.0, 1.0)


_OPERATIONS = {
    BRIGHTNESS: adjust_brightness_,
    CONTRAST: adjust_contrast_,
    SATURATION: adjust_saturation_,
    HUE: adjust_hue_,
}


def jitter_code(applied: Tensor, order: Tensor) -> Tensor:
    """A code [N] that is equal for two rows if and only if they need the same operations in the same order; -1 for no
    jitter."""
    code = order[:, 0] * 64 + order[:, 1] * 16 + order[:, 2] * 4 + order[:, 3]
    return torch.where(applied, code, -1)


def jitter(images: Tensor, table: Table, on_device: Table) -> Tensor:
    """torchvision's ``ColorJitter`` with separate factors and order for each row, in place if that is faster.

    Args:
        images: float32 [N, 3, H, W] in [0, 1].
        table: N rows on the CPU; ``jitter_applied`` and ``jitter_order`` are read.
        on_device: the same table on the images' device.
    """
    factors = jitter_factors(on_device)
    if images.device.type == "cpu":
        return jitter_by_runs(images, table["jitter_applied"], table["jitter_order"], factors)
    return jitter_by_position(images, on_device["jitter_applied"], on_device["jitter_order"], factors)


def jitter_factors(table: Table) -> Tensor:
    """Brightness, contrast, saturation and hue of every row, [N, 4]."""
    return torch.stack([table[name] for name in ("brightness", "contrast", "saturation", "hue")], 1)


def jitter_by_runs(images: Tensor, applied: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Jitter in place, processing each run of consecutive rows with the same operations in the same order at once.

    No operation is computed for a row that does not need it, which is better if arithmetic is expensive. Sort rows by
    :func:`jitter_code` for few and long runs.

    Args:
        applied: bool [N], CPU.
        order: int64 [N, 4], CPU.
        factors: float32 [N, 4]: brightness, contrast, saturation, hue.
    """
    start = 0
    for code, run in groupby(jitter_code(applied, order).tolist()):
        stop = start + len(list(run))
        if code >= 0:
            for operation in order[start].tolist():
                _OPERATIONS[operation](images[start:stop], factors[start:stop, operation])
        start = stop
    return images


def jitter_by_position(
    images: Tensor,
    applied: Tensor,
    order: Tensor,
    factors: Tensor,
    turn: Callable[[Tensor, Tensor], Tensor] = adjust_hue_,
) -> Tensor:
    """Jitter all rows together in four steps: each row's first, second, third and fourth operation.

    Brightness, contrast and saturation are one blend of image, grey image and a constant. The host never waits for
    values, which is better on a GPU.

    Args:
        applied: bool [N]; order: int64 [N, 4]; factors: float32 [N, 4], all on the images' device.
        turn: the function that adjusts the hue; in place is faster unless a compiler fuses the operations.
    """
    for position in range(4):
        operation = order[:, position : position + 1]
        factor = factors.gather(1, operation).squeeze(1)
        operation = operation.squeeze(1)
        neutral = (operation != HUE).to(factor.dtype)
        factor = torch.where(applied, factor, neutral)
        grey = luma(images)
        gain = torch.where(operation == HUE, 1.0, factor)
        of_mean = torch.where(operation == CONTRAST, 1.0 - factor, 0.0) * grey.mean((1, 2))
        of_grey = torch.where(operation == SATURATION, 1.0 - factor, 0.0)
        grey.mul_(of_grey.view(-1, 1, 1)).add_(of_mean.view(-1, 1, 1))
        images = (images * _column(gain) + grey.unsqueeze(1)).clamp_(0.0, 1.0)
        images = turn(images, torch.where(operation == HUE, factor, 0.0))
    return images


def grayscale(images: Tensor) -> Tensor:
    """Replace all three channels by the grey level; returns a view [N, 3, H, W] of one plane."""
    return luma(images).unsqueeze(1).expand_as(images)


def solarise(images: Tensor, threshold: int) -> Tensor:
    """Invert values of at least ``threshold`` / 255."""
    return torch.where(images >= threshold / 255.0, 1.0 - images, images)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
