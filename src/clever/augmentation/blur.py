"""Gaussian blur with a separate standard deviation for every image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Rows of the result per matrix product. Fewer rows waste less work on zeros outside the band; more rows make the
# products larger.
_BAND = 32


def gaussian_blur(images: Tensor, sigma: Tensor, half_width: int) -> Tensor:
    """torchvision's ``gaussian_blur`` with a kernel of ``2 * half_width + 1`` taps and reflected borders.

    The authors use Pillow's ``GaussianBlur``, three box blurs whose standard deviation is ``sigma``; a true Gaussian
    stays within a few grey levels of it.

    Args:
        images: float32 [N, 3, S, S].
        sigma: float [N], pixels, positive.
        half_width: taps on either side; at most S - 1, beyond which there is nothing to reflect.

    Returns:
        A new tensor of the same shape.
    """
    half_width = min(half_width, images.shape[-1] - 1)
    return smooth(images, blur_matrix(sigma, images.shape[-1], half_width), half_width)


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
