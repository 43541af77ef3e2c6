"""The test-time perturbations of an image by name, after the authors' ``eval_linear.py:123-238``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from clever.augmentation.options.augmentation import Interpolation
from clever.errors import UserError
from clever.options import Options


class PerturbationOptions(Options):
    """One perturbation: its steps in order, and their coefficients."""

    steps: tuple[Literal["flip", "rotate", "jitter", "elastic"], ...] = ()
    """Operations on every image after the centre crop, in this order."""
    interpolation: Interpolation = "bilinear"
    """Antialiased filter of the initial resizing: the authors resize unperturbed images with the bicubic filter."""
    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 90.0
    """Largest rotation in either direction, in degrees; drawn uniformly."""
    brightness: NonNegativeFloat = 0.4
    """Brightness factors are drawn from [1 - b, 1 + b]."""
    contrast: NonNegativeFloat = 0.4
    """Contrast factors are drawn from [1 - c, 1 + c]."""
    saturation: NonNegativeFloat = 0.4
    """Saturation factors are drawn from [1 - s, 1 + s] (0.2 in training, 0.4 here)."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Hue shifts are drawn from [-h, h], as a share of the colour circle."""
    elastic_alpha: NonNegativeFloat = 100.0
    """Strength of the elastic distortion. Scale it with the size of the images."""
    elastic_sigma: PositiveFloat = 5.0
    """Smoothness of the elastic distortion in pixels. Scale it with the size of the images."""


PERTURBATIONS: dict[str, PerturbationOptions] = {
    "orig": PerturbationOptions(interpolation="bicubic"),
    "cj": PerturbationOptions(steps=("jitter",)),
    "cj_flip": PerturbationOptions(steps=("flip", "jitter")),
    "cj_rot": PerturbationOptions(steps=("rotate", "jitter")),
    "cj_rot180": PerturbationOptions(steps=("rotate", "jitter"), rotation_degrees=180.0),
    "cj_rot_et50": PerturbationOptions(steps=("rotate", "jitter", "elastic"), elastic_alpha=50.0),
    "cj_rot_et": PerturbationOptions(steps=("rotate", "jitter", "elastic")),
    "cj_rot_et150": PerturbationOptions(steps=("rotate", "jitter", "elastic"), elastic_alpha=150.0),
    "rot180": PerturbationOptions(steps=("rotate",), rotation_degrees=180.0),
}
"""The authors' ``ori``, ``basic``, ``aug1``, ``aug1_2``, ``aug1_3``, ``aug1_4_1``, ``aug1_4_2`` and ``aug1_4_3``, and
a rotation by any angle without colour jitter."""


def scaled_to(name: str, image_size: int, reference_size: int | None) -> PerturbationOptions:
    """A perturbation whose elastic distortion shifts pixels by the same share of the image as at ``reference_size``.

    Args:
        name: a key of :data:`PERTURBATIONS`.
        image_size: side of the images in pixels.
        reference_size: side of the images for which the strengths are defined; None keeps the strengths.

    Raises:
        UserError: the name is unknown.
    """
    definition = definition_of(name)
    if reference_size is None:
        return definition
    # The field is noise smoothed over sigma: its height falls as 1 / sigma, so for a shift proportional to the image
    # size, alpha must be proportional to its square.
    share = image_size / reference_size
    return definition.model_copy(
        update={
            "elastic_alpha": definition.elastic_alpha * share**2,
            "elastic_sigma": definition.elastic_sigma * share,
        }
    )


def definition_of(name: str) -> PerturbationOptions:
    """The perturbation of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in PERTURBATIONS:
        raise UserError(f"perturbation {name!r} is unknown; choose one of {', '.join(PERTURBATIONS)}")
    return PERTURBATIONS[name]
