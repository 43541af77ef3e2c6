"""Tables of parameters from random numbers: one row per image, distributed as torchvision's ``get_params``.

Every column is a pure function of one row of uniform numbers, so a table depends neither on the device nor on the other
images of the batch. Columns (leading dimension N):

======================================  =========  =================================================================
column                                  dtype      meaning
======================================  =========  =================================================================
crop_top, crop_left                     int64      upper left corner of the crop in the source image, pixels
crop_height, crop_width                 int64      extent of the crop, pixels
flip                                    bool       mirrored left to right
angle                                   float32    rotation in degrees, counter-clockwise; 0 where there is none
elastic_applied                         bool
elastic_seed                            int64      [0, 2**31) names the displacement field; 0 where not applied
jitter_applied                          bool
jitter_order [N, 4]                     int64      which operation is 1st ... 4th: 0 brightness, 1 contrast,
                                                   2 saturation, 3 hue; 0, 1, 2, 3 where not applied
brightness, contrast, saturation, hue   float32    factors; 1, 1, 1, 0 where not applied
grayscale                               bool
blur_applied                            bool
blur_radius                             float32    standard deviation in pixels; 0 where not applied
solarise_applied                        bool
======================================  =========  =================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Table = dict[str, Tensor]

_CROP_TRIES = 10


@dataclass(frozen=True)
class Distributions:
    """The distributions of one view's parameters; a probability of 0 switches an operation off."""

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    degrees: float = 0.0
    elastic: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0


UNIFORMS = 2 * _CROP_TRIES + 19
"""Number of uniform random numbers per row of a table."""


def draw_uniforms(rows: int, generator: torch.Generator) -> Tensor:
    """[rows, UNIFORMS] float64 numbers in [0, 1) from a CPU generator."""
    return torch.rand(rows, UNIFORMS, generator=generator, dtype=torch.float64)


def crop_boxes(
    uniforms: Tensor, sizes: Tensor, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (top, left, height, width) of torchvision's ``RandomResizedCrop``, for all images at once.

    Ten candidates of area ~ U(scale) and log aspect ratio ~ U(log ratio) are made for every image. The first that fits
    is used; if none fits, the largest central box within ``ratio``.

    Args:
        uniforms: float64 [N, 22] in [0, 1).
        sizes: int64 [N, 2], height and width of each image.
    """
    height, width = sizes.double().unbind(1)
    area = (height * width).unsqueeze(1) * _between(uniforms[:, :_CROP_TRIES], *scale)
    log_ratio = _between(uniforms[:, _CROP_TRIES : 2 * _CROP_TRIES], math.log(ratio[0]), math.log(ratio[1]))
    aspect = log_ratio.exp()
    widths = (area * aspect).sqrt().round()
    heights = (area / aspect).sqrt().round()
    fits = (widths > 0) & (widths <= width.unsqueeze(1)) & (heights > 0) & (heights <= height.unsqueeze(1))
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    found = fits.any(1)

    widest = torch.where(width / height > max(ratio), (height * max(ratio)).round(), width)
    tallest = torch.where(width / height < min(ratio), (width / min(ratio)).round(), height)
    box_width = torch.where(found, widths.gather(1, first).squeeze(1), widest)
    box_height = torch.where(found, heights.gather(1, first).squeeze(1), tallest)

    free_height, free_width = height - box_height, width - box_width
    top_uniform, left_uniform = uniforms[:, 2 * _CROP_TRIES], uniforms[:, 2 * _CROP_TRIES + 1]
    top = torch.where(found, (top_uniform * (free_height + 1)).floor(), (free_height / 2).floor())
    left = torch.where(found, (left_uniform * (free_width + 1)).floor(), (free_width / 2).floor())
    return top.long(), left.long(), box_height.long(), box_width.long()


def make_table(uniforms: Tensor, sizes: Tensor, distributions: Distributions) -> Table:
    """Turn uniform numbers into one view's table of parameters.

    Args:
        uniforms: float64 [N, UNIFORMS] in [0, 1), CPU.
        sizes: int64 [N, 2], height and width of each image, CPU.
    """
    want = distributions
    top, left, height, width = crop_boxes(uniforms, sizes, want.scale, want.ratio)
    column = iter(uniforms[:, 2 * _CROP_TRIES + 2 :].unbind(1))

    flip = next(column) < want.flip
    angle = _between(next(column), -want.degrees, want.degrees)
    elastic = next(column) < want.elastic
    seed = (next(column) * 2**31).long()
    jitter = next(column) < want.jitter
    order = torch.stack([next(column) for _ in range(4)], 1).argsort(1)
    factors = {
        name: _between(next(column), max(0.0, 1.0 - strength), 1.0 + strength)
        for name, strength in (
            ("brightness", want.brightness),
            ("contrast", want.contrast),
            ("saturation", want.saturation),
        )
    }
    hue = _between(next(column), -want.hue, want.hue)
    grayscale = next(column) < want.grayscale
    blur = next(column) < want.blur
    radius = _between(next(column), *want.blur_radius)
    solarise = next(column) < want.solarise

    return {
        "crop_top": top,
        "crop_left": left,
        "crop_height": height,
        "crop_width": width,
        "flip": flip,
        "angle": angle.float(),
        "elastic_applied": elastic,
        "elastic_seed": torch.where(elastic, seed, 0),
        "jitter_applied": jitter,
        "jitter_order": torch.where(jitter.unsqueeze(1), order, torch.arange(4)),
        **{name: torch.where(jitter, factor, 1.0).float() for name, factor in factors.items()},
        "hue": torch.where(jitter, hue, 0.0).float(),
        "grayscale": grayscale,
        "blur_applied": blur,
        "blur_radius": torch.where(blur, radius, 0.0).float(),
        "solarise_applied": solarise,
    }


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform
