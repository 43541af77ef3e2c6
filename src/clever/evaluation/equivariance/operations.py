"""Transformations of images: random ones of a given strength, and fixed ones that are the same for every image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clever.augmentation import colour
from clever.augmentation.blur import gaussian_blur, kernel_half_width
from clever.augmentation.elastic import elastic
from clever.augmentation.tables import upload
from clever.evaluation.equivariance.warps import inscribed, warp

ELASTIC_ALPHA, ELASTIC_SIGMA, ELASTIC_SIDE = 100.0, 5.0, 224
"""The paper's elastic distortion, and the side in pixels of the images for which it is defined."""
JITTER = (0.4, 0.4, 0.4, 0.1)
"""The test-time ranges of the paper's brightness, contrast, saturation and hue."""


class Draws(NamedTuple):
    """The random numbers for the transformations of N images, on their device.

    ``uniform`` float32 [N, 4] in [0, 1); ``seed`` int64 [N] in [0, 2**31).
    """

    uniform: Tensor
    seed: Tensor

    @classmethod
    def make(cls, count: int, generator: torch.Generator, device: torch.device) -> Draws:
        """Draw random numbers for ``count`` images."""
        uniform = torch.rand(count, 4, generator=generator)
        seed = torch.randint(2**31, (count,), generator=generator)
        return cls(upload(uniform, device), upload(seed, device))


def crop(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """A random square of the image, resized; its side is 1 - ``strength`` times the image's."""
    side, free = 1.0 - strength, strength * (2.0 * draws.uniform[:, :2] - 1.0)
    matrix = images.new_zeros(len(images), 2, 3)
    matrix[:, 0, 0] = side
    matrix[:, 1, 1] = side
    matrix[:, :, 2] = free
    return warp(images, matrix, "bicubic")


def jitter(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Brightness, contrast, saturation and hue at either end of ``strength`` times the paper's ranges."""
    sign = torch.where(draws.uniform < 0.5, -strength, strength)
    changed = images.clone()
    for column, adjust in enumerate(
        (colour.adjust_brightness_, colour.adjust_contrast_, colour.adjust_saturation_, colour.adjust_hue_)
    ):
        change = sign[:, column] * JITTER[column]
        changed = adjust(changed, change if column == colour.HUE else (1.0 + change).clamp_min(0.0))
    return changed


def blur(images: Tensor, strength: float, _: Draws | None = None) -> Tensor:
    """A Gaussian blur whose standard deviation is ``strength`` times the side of the image."""
    sigma = strength * images.shape[-1]
    return gaussian_blur(images, images.new_full((len(images),), sigma), kernel_half_width(sigma))


def distort(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """An elastic distortion with ``strength`` times the paper's strength, scaled to the size of the image."""
    share = images.shape[-1] / ELASTIC_SIDE
    # The field is noise smoothed over sigma: its height falls as 1 / sigma.
    return elastic(images, draws.seed, strength * ELASTIC_ALPHA * share**2, ELASTIC_SIGMA * share)


@dataclass(frozen=True)
class Operation:
    """A random transformation, and the strengths at which it is measured; strength 0 is the identity."""

    strengths: tuple[float, ...]
    apply: Callable[[Tensor, float, Draws], Tensor]


OPERATIONS: dict[str, Operation] = {
    "crop": Operation((0.1, 0.2, 0.3, 0.4, 0.5), crop),
    "jitter": Operation((0.25, 0.5, 1.0, 1.5, 2.0), jitter),
    "blur": Operation((0.01, 0.02, 0.04, 0.08), blur),
    "elastic": Operation((0.5, 1.0, 1.5, 2.0), distort),
}
"""All random transformations except for the rotation, by name."""


@dataclass(frozen=True)
class Fixed:
    """A transformation that is the same for every image, and the unchanged image with which it is compared."""

    apply: Callable[[Tensor], Tensor]
    inscribed: bool = False
    """Whether the unchanged image is the inscribed square instead of the whole image."""


def _rotation(degrees: float) -> Fixed:
    return Fixed(lambda images: inscribed(images, degrees), inscribed=True)


def _hue(images: Tensor) -> Tensor:
    return colour.adjusted_hue(images, images.new_full((len(images),), 0.1))


def _one_field(images: Tensor) -> Tensor:
    nothing = images.new_zeros(len(images), 4)
    return distort(images, 1.0, Draws(nothing, nothing.new_zeros(len(images), dtype=torch.int64)))


FIXED: dict[str, Fixed] = {
    "rotation_30": _rotation(30.0),
    "rotation_90": _rotation(90.0),
    "rotation_180": _rotation(180.0),
    "flip": Fixed(lambda images: images.flip(3)),
    "centre_crop": Fixed(lambda images: warp(images, ((0.7, 0.0, 0.0), (0.0, 0.7, 0.0)), "bicubic")),
    "brightness": Fixed(lambda images: (images * 1.4).clamp_(0.0, 1.0)),
    "hue": Fixed(_hue),
    "fixed_blur": Fixed(lambda images: blur(images, 0.04)),
    "fixed_elastic": Fixed(_one_field),
}
"""Fixed transformations by name; a single linear map should express each of them for all images."""
ROTATIONS = ("rotation_30", "rotation_90", "rotation_180")
