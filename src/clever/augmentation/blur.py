"""Gaussian blur with a separate standard deviation for every image, and Pillow's approximation of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clever.augmentation.options.augmentation import BlurFilter

# Rows of the result per matrix product. Fewer rows waste less work on zeros outside the band; more rows make the
# products larger.
_BAND = 32

PASSES = 3
"""Number of consecutive box blurs, as in Pillow."""


def blur(images: Tensor, sigma: Tensor, largest: float, kind: BlurFilter) -> Tensor:
    """Blur every image with a separate standard deviation.

    Args:
        images: float32 [N, 3, S, S].
        sigma: float [N], pixels, positive and at most ``largest``.
        largest: bound that determines the number of taps.

    Returns:
        A new tensor of the same shape.
    """
    if kind == "gaussian":
        return gaussian_blur(images, sigma, kernel_half_width(largest))
    reach = box_reach(largest)
    return smooth(images, box_matrix(sigma, images.shape[-1], reach), PASSES * reach)


def gaussian_blur(images: Tensor, sigma: Tensor, half_width: int) -> Tensor:
    """torchvision's ``gaussian_blur`` with a kernel of ``2 * half_width + 1`` taps and reflected borders.

    Args:
        images: float32 [N, 3, S, S].
        sigma: float [N], pixels, positive.
        half_width: taps on either side; at most S - 1, beyond which there is nothing to reflect.

    Returns:
        A new tensor of the same shape.
    """
    half_width = min(half_width, images.shape[-1] - 1)
    return smooth(images, blur_matrix(sigma, images.shape[-1], half_width), half_width)


def box_reach(largest_sigma: float) -> int:
    """Taps on either side of one of Pillow's boxes, up to this standard deviation."""
    length = math.sqrt(12.0 * largest_sigma**2 / PASSES + 1.0)
    return math.floor(length / 2 - 0.5) + 1


def box_kernel(sigma: Tensor, reach: int) -> Tensor:
    """One extended box [N, 2 * reach + 1]: its variance is a third of ``sigma`` squared, because three boxes are
    applied.

    Equal weights, and two smaller ones at the ends (Gwosdek et al. 2011, equations 7, 11 and 14), as in Pillow's
    BoxBlur.c.
    """
    variance = sigma.double().square().unsqueeze(1) / PASSES
    whole = ((12.0 * variance + 1.0).sqrt() / 2 - 0.5).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1).square()))
    tap = torch.arange(-reach, reach + 1, device=sigma.device).abs()
    return ((tap <= whole) + part * (tap == whole + 1)) / (2 * (whole + part) + 1)


def box_matrix(sigma: Tensor, size: int, reach: int) -> Tensor:
    """The matrices float32 [N, size, size] of three boxes in a row; before each, the border pixel is repeated.

    All rows that are further than three reaches from both borders hold the same numbers. Therefore, only matrices of
    the smallest size with such a row are multiplied, and their rows are copied.
    """
    band = PASSES * reach
    small = min(size, 2 * band + 1)
    kernel = box_kernel(sigma, reach)
    tap = torch.arange(-reach, reach + 1, device=sigma.device)
    column = (torch.arange(small, device=sigma.device).unsqueeze(1) + tap).clamp(0, small - 1)
    once = torch.zeros(len(sigma), small, small, device=sigma.device, dtype=kernel.dtype)
    once.scatter_add_(2, column.expand(len(sigma), -1, -1), kernel.unsqueeze(1).expand(-1, small, -1))
    thrice = (once @ once @ once).float()
    if small == size:
        return thrice
    row = torch.arange(size, device=sigma.device)
    # The rows at the top, the middle row, and the rows at the bottom; column j of row i is i's own column plus j - i.
    source = torch.where(row < band, row, (row - (size - small)).clamp_min(band))
    offset = torch.arange(-band, band + 1, device=sigma.device)
    target, place = row.unsqueeze(1) + offset, source.unsqueeze(1) + offset
    inside = (place >= 0) & (place < small)
    taken = thrice[:, source.unsqueeze(1), place.clamp(0, small - 1)] * inside
    matrix = torch.zeros(len(sigma), size, size, device=sigma.device)
    return matrix.scatter_add_(2, target.clamp(0, size - 1).expand(len(sigma), -1, -1), taken)


def smooth(images: Tensor, matrix: Tensor, half_width: int) -> Tensor:
    """Multiply columns and rows of images [N, C, S, S] by banded matrices [N, S, S], only within the band."""
    count, channels, size, _ = images.shape
    wide = torch.empty(count, channels, size, size, device=images.device)
    result = torch.empty_like(wide)
    source, target = images.reshape(count, channels * size, size), wide.view(count, channels * size, size)
    for start, stop, first, last in _bands(size, half_width):
        target[:, :, start:stop] = torch.bmm(
            source[:, :, first:last], matrix[:, start:stop, first:last].transpose(1, 2)
        )
    for start, stop, first, last in _bands(size, half_width):
        result[:, :, start:stop] = torch.matmul(matrix[:, start:stop, first:last].unsqueeze(1), wide[:, :, first:last])
    return result


def _bands(size: int, half_width: int) -> list[tuple[int, int, int, int]]:
    """Row ranges of a banded matrix (start, stop) and the range of their nonzero columns (first, last)."""
    starts = range(0, size, _BAND) if size > 2 * (_BAND + half_width) else (0,)
    height = _BAND if len(starts) > 1 else size
    stops = [min(size, start + height) for start in starts]
    return [
        (start, stop, max(0, start - half_width), min(size, stop + half_width))
        for start, stop in zip(starts, stops, strict=True)
    ]


def kernel_half_width(largest_sigma: float) -> int:
    """Taps on either side that hold all but 1e-4 of a Gaussian's mass: four standard deviations."""
    return max(1, math.ceil(4.0 * largest_sigma))


def gaussian_kernel(sigma: Tensor, half_width: int) -> Tensor:
    """Normalised kernels [N, 2 * half_width + 1]."""
    position = torch.arange(-half_width, half_width + 1, device=sigma.device, dtype=torch.float32)
    weight = (position / sigma.float().unsqueeze(1)).square().mul_(-0.5).exp_()
    return weight / weight.sum(1, keepdim=True)


def blur_matrix(sigma: Tensor, size: int, half_width: int) -> Tensor:
    """The matrices [N, size, size] that blur a column of ``size`` pixels, borders reflected as often as needed."""
    kernel = gaussian_kernel(sigma, half_width)
    period = max(2 * (size - 1), 1)
    reach = torch.arange(-half_width, half_width + 1, device=sigma.device)
    position = (torch.arange(size, device=sigma.device).unsqueeze(1) + reach) % period
    position = torch.minimum(position, period - position)
    matrix = torch.zeros(len(sigma), size, size, device=sigma.device)
    return matrix.scatter_add_(2, position.expand(len(sigma), -1, -1), kernel.unsqueeze(1).expand(-1, size, -1))
