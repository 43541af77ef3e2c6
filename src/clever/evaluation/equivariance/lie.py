"""The Lie derivative of a representation: its rate of change under an infinitesimal transformation.

Gruver et al. 2023 ("The Lie Derivative for Measuring Learned Equivariance") take the squared norm of the derivative of
T_{-t} f(T_t x) at t = 0, where T_{-t} is the identity if the output of f is not an image. Here, the derivative is a
central difference instead of automatic differentiation, and it is divided by the variance of the features, so that
representations of any scale are comparable.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from clever.augmentation import colour
from clever.evaluation.equivariance.warps import turned, warp


def _warp(images: Tensor, xx: float, xy: float, yx: float, yy: float, x: float = 0.0, y: float = 0.0) -> Tensor:
    # Bilinear: its central difference at a pixel equals the difference of the neighbours; torch's bicubic overstates it
    # by half.
    return warp(images, ((xx, xy, x), (yx, yy, y)), "bilinear")


def _saturation(images: Tensor, t: float) -> Tensor:
    grey = colour.luma(images).unsqueeze(1)
    return grey + (images - grey) * (1.0 + t)


GENERATORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "translation_x": lambda images, t: _warp(images, 1.0, 0.0, 0.0, 1.0, x=2.0 * t),
    "translation_y": lambda images, t: _warp(images, 1.0, 0.0, 0.0, 1.0, y=2.0 * t),
    "rotation": lambda images, t: warp(images, turned(math.degrees(t)), "bilinear"),
    "scale": lambda images, t: _warp(images, math.exp(t), 0.0, 0.0, math.exp(t)),
    "shear": lambda images, t: _warp(images, 1.0, t, 0.0, 1.0),
    "brightness": lambda images, t: images * (1.0 + t),
    "saturation": _saturation,
}
"""Transformations of images float32 [N, 3, S, S] with parameter t, by name; t = 0 is the identity. The unit of t is the
side of the image for translations, a radian for the rotation, a factor of e for the scale, the tangent of the angle for
the shear, and the factor itself for the colours, which are not clipped."""


def squared_derivative(forward: Tensor, backward: Tensor, step: float, features: Tensor) -> Tensor:
    """Mean squared norm of the derivative, divided by the variance of the features: float64 [].

    Args:
        forward, backward: features [N, D] of the images at t = step and at t = -step.
        features: [N, D], the features of the unchanged images; the result is NaN if they do not vary.
    """
    derivative = (forward.double() - backward.double()) / (2.0 * step)
    centred = features.double() - features.double().mean(0)
    return derivative.square().sum() / centred.square().sum()
