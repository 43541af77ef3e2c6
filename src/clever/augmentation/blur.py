"""Gaussian blur with a standard deviation of its own for every image."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: Tensor, half_width: int) -> Tensor:
    """torchvision's ``gaussian_blur`` with a kernel of ``2 * half_width + 1`` taps and reflected borders.

    The authors use Pillow's ``GaussianBlur``, three box blurs whose standard deviation is ``sigma``; a true Gaussian
    stays within a few grey levels of it.

    Args:
        images: float32 [N, 3, S, S].
        sigma: float [N], pixels, positive.
        half_width: taps either side; cut to S - 1, beyond which nothing is left to reflect.

    Returns:
        A new tensor of the same shape.
    """
    matrix = blur_matrix(sigma, images.shape[-1], min(half_width, images.shape[-1] - 1)).unsqueeze(1)
    return torch.matmul(torch.matmul(matrix, images), matrix.transpose(2, 3))


def kernel_half_width(largest_sigma: float) -> int:
    """Taps either side that hold all but 1e-4 of a Gaussian's mass: four standard deviations."""
    return max(1, int(4.0 * largest_sigma + 0.999999))


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
