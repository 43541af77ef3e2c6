"""The Spirograph images of Foster, Pukdee and Rainforth (ICLR 2021): a curve drawn by formula from ten numbers.

The formula is that of the authors' code (ae-foster/invclr:data/spirograph.py). Every image is a differentiable function
of all ten numbers, so that a regulariser can measure how features change with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clever.spirograph import NAMES, RANGES, SIZE, Name

POINTS = 40
"""Points of a curve; the first and the last are the ends of one turn."""

HALF_WIDTH = 6.0
"""The pixel centres span [-6, 6] along both axes."""


def draw(count: int, generator: torch.Generator, names: Sequence[Name] = NAMES) -> Tensor:
    """Draw ``count`` rows of the named parameters: float64 [count, len(names)] on the generator's device.

    A larger ``count`` with an equally seeded generator starts with the same rows.
    """
    uniforms = torch.rand(count, len(names), generator=generator, dtype=torch.float64, device=generator.device)
    low, high = uniforms.new_tensor([RANGES[name] for name in names]).unbind(1)
    drawn: Tensor = low + (high - low) * uniforms
    return drawn


def standardise(values: Tensor, names: Sequence[Name]) -> Tensor:
    """Standardise ``values`` [N, len(names)] with the mean and standard deviation (width / sqrt(12)) of their uniform
    distributions."""
    columns = [
        (column - (RANGES[name][0] + RANGES[name][1]) / 2) / ((RANGES[name][1] - RANGES[name][0]) / math.sqrt(12))
        for name, column in zip(names, values.unbind(1), strict=True)
    ]
    return torch.stack(columns, 1)


def render(parameters: Tensor) -> Tensor:
    """Draw the images of N rows of parameters.

    With R = m - h and t_j = 2 pi j / 39 the curve's points are x_j = R cos t_j + h cos(t_j R / b) and
    y_j = R sin t_j - h sin(t_j R / b). A pixel's density is V = mean_j exp(-((u - x_j)^2 + (w - y_j)^2) / sigma), u
    down the rows and w along the columns; v = V / (max V + 1e-8) mixes the foreground into the background. The
    exponential is a product of one in x and one in y, so V is a matrix product and no [N, 32, 32, 40] array is made:
    arrays of [N, 32, 40] numbers are the largest.

    Args:
        parameters: float32 or float64 [N, 10] in the order of :data:`clever.spirograph.NAMES`, on any device.

    Returns:
        [N, 3, 32, 32] in [0, 1], of the same dtype and device, twice differentiable in all parameters.

    Raises:
        ValueError: the shape differs.
    """
    if parameters.ndim != 2 or parameters.shape[1] != len(NAMES):
        raise ValueError(f"parameters must be [N, {len(NAMES)}], not {list(parameters.shape)}")
    dtype, device = parameters.dtype, parameters.device
    # Reduced precision would be visible, since v is a ratio of densities.
    with torch.autocast(device.type, enabled=False):
        column = dict(zip(NAMES, parameters.unsqueeze(2).unbind(1), strict=True))  # [N, 1] each
        angle = torch.arange(POINTS, dtype=dtype, device=device) * (2 * math.pi / (POINTS - 1))
        radius, pen = column["m"] - column["h"], column["h"]
        turned = angle * radius / column["b"]
        x = radius * angle.cos() + pen * turned.cos()
        y = radius * angle.sin() - pen * turned.sin()

        grid = torch.arange(SIZE, dtype=dtype, device=device) * (2 * HALF_WIDTH / (SIZE - 1)) - HALF_WIDTH
        width = column["sigma"].unsqueeze(2)
        down, along = (
            torch.exp(-(grid.view(-1, 1) - points.unsqueeze(1)).square() / width) for points in (x, y)
        )  # [N, 32, 40]
        density = torch.bmm(down, along.transpose(1, 2)) / POINTS
        share = (density / (density.amax((1, 2), keepdim=True) + 1e-8)).unsqueeze(1)

        fore, back = (
            torch.stack([column["rfore"], column["gfore"], column["bfore"]], 1).unsqueeze(3),
            torch.stack([column["rback"], column["gback"], column["bback"]], 1).unsqueeze(3),
        )
        return share * fore + (1 - share) * back
