"""Chains of element-wise operations of an augmentation, each compiled into a few kernels (``torch.compile``).

On a GPU, the operations of an augmentation are limited by memory bandwidth: a colour jitter reads the images about
sixty times in eager mode, about ten times when compiled. Compiled results differ from eager ones by rounding, a small
fraction of a grey level. Matrix products of the crops run in TF32 here, which changes a pixel by at most 0.3 grey
levels.

Everything here works on any device; :func:`clever.augmentation.render.render` uses it if a run enables compilation and
the pixels are on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clever.augmentation import colour


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled once for each size of its tensors.

    Chunks of a batch have one or two sizes, and so have an augmentation's views, so that few graphs are compiled.
    """
    return torch.compile(function, dynamic=False)


def colours(images: Tensor, applied: Tensor, order: Tensor, factors: Tensor, grey: Tensor) -> Tensor:
    """Colour jitter, then grayscale of the rows where ``grey`` (bool [N]) is set; see ``colour.jitter_by_position``."""
    images = colour.jitter_by_position(images, applied, order, factors, turn=colour.adjusted_hue)
    return torch.where(grey.view(-1, 1, 1, 1), colour.luma(images).unsqueeze(1), images)


def finished(
    images: Tensor,
    solarised: Tensor,
    threshold: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Solarisation of the rows where ``solarised`` (bool [N]) is set, then normalisation."""
    images = torch.where(solarised.view(-1, 1, 1, 1), colour.solarise(images, threshold), images)
    return torch.stack([(images[:, channel] - mean[channel]) / std[channel] for channel in range(3)], 1)


def floats(pixels: Tensor, rows: Tensor) -> Tensor:
    """The selected images of uint8 [N, 3, H, W] as float32 [R, 3, H, W] in [0, 1]."""
    return pixels.index_select(0, rows).to(torch.float32) / 255.0


@contextmanager
def tf32_products() -> Iterator[None]:
    """Context manager: use TF32 for float32 matrix products on GPUs."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
