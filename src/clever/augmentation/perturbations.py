"""Test-time perturbations of an image, after the authors' ``eval_linear.py:123-238``.

Each resizes the shorter side, crops the centre, applies its steps in order and normalises. The random parameters of an
image are a pure function of the seed, the perturbation and the image's index in its split, so they do not depend on
batch, device or order of evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from clever.augmentation import colour
from clever.augmentation.cpu_chunks import in_chunks, put_rows_
from clever.augmentation.crop import Interpolation, centre_window, crop_bytes, lay_out, resized_crop
from clever.augmentation.elastic import elastic
from clever.augmentation.pixels import check_pixels, normalise_
from clever.augmentation.rotate import rotate
from clever.augmentation.sample import UNIFORMS, Distributions, Table, draw_uniforms, make_table
from clever.augmentation.tables import move, take, upload
from clever.errors import UserError
from clever.options import Options
from clever.randomness import make_generator


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


def perturb(
    name: str,
    pixels: Tensor,
    sizes: Tensor,
    *,
    image_size: int,
    resize_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    indices: Tensor,
    options: PerturbationOptions | None = None,
    parameters: Table | None = None,
) -> Tensor:
    """Perturb a batch of images.

    Args:
        name: a key of :data:`PERTURBATIONS`; with ``options`` any name, which then only selects the random stream.
        pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
        sizes: int64 [N, 2], height and width of each image.
        image_size: side of the centre crop.
        resize_size: size of the shorter side after the initial resizing; at least ``image_size``.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        seed: of the random parameters; the same seed perturbs the same images in the same way.
        indices: int64 [N], each image's index in its split.
        options: the definition; None: the one in :data:`PERTURBATIONS` (small images need a smaller alpha).
        parameters: the result of :func:`perturbation_parameters`, to avoid drawing it again or to set it by hand.

    Returns:
        float32 [N, 3, image_size, image_size] on the pixels' device, normalised.

    Raises:
        UserError: for an unknown name, a resize below the crop, or pixels that are not uint8 images.
    """
    definition = options or definition_of(name)
    check_pixels(pixels, sizes)
    if resize_size < image_size:
        raise UserError(f"resize_size must be at least image_size {image_size}, not {resize_size}")
    if parameters is None:
        parameters = perturbation_parameters(name, seed=seed, indices=indices, options=options)
    table = move(parameters, torch.device("cpu"))
    device = pixels.device
    sizes, pixels = sizes.cpu(), lay_out(pixels)
    out = torch.empty(len(pixels), 3, image_size, image_size, device=device)

    def work(rows: Tensor) -> None:
        here = take(table, rows)
        on_device = move(here, device)
        box = centre_window(upload(sizes[rows], device), resize_size, image_size)
        rows = upload(rows, device)
        upright = torch.zeros(len(rows), dtype=torch.bool, device=device)
        images = resized_crop(pixels, rows, box, upright, image_size, definition.interpolation)
        for step in definition.steps:
            if step == "flip":
                images = images.flip(3)
            elif step == "rotate":
                images = rotate(images, on_device["angle"])
            elif step == "jitter":
                images = colour.jitter(images, here, on_device)
            else:
                images = elastic(images, on_device["elastic_seed"], definition.elastic_alpha, definition.elastic_sigma)
        put_rows_(out, rows, normalise_(images, mean, std))

    # Group rows that need the same colour operations.
    order = colour.jitter_code(table["jitter_applied"], table["jitter_order"]).argsort(stable=True)
    in_chunks(work, order, crop_bytes(pixels, image_size), device)
    return out


def perturbation_parameters(
    name: str, *, seed: int, indices: Tensor, options: PerturbationOptions | None = None
) -> Table:
    """The random parameters of the images with these indices: a CPU table of :mod:`clever.augmentation.sample`.

    The crop's columns are those of a whole image of one pixel and have no meaning here.
    """
    definition = options or definition_of(name)
    steps = definition.steps
    uniforms = torch.empty(len(indices), UNIFORMS, dtype=torch.float64)
    for row, index in enumerate(indices.tolist()):
        uniforms[row] = draw_uniforms(1, make_generator(seed, "perturbation", name, index))[0]
    distributions = Distributions(
        flip=float("flip" in steps),
        degrees=definition.rotation_degrees if "rotate" in steps else 0.0,
        elastic=float("elastic" in steps),
        jitter=float("jitter" in steps),
        brightness=definition.brightness,
        contrast=definition.contrast,
        saturation=definition.saturation,
        hue=definition.hue,
    )
    return make_table(uniforms, torch.ones(len(indices), 2, dtype=torch.int64), distributions)


def scaled_to(name: str, image_size: int, reference_size: int | None) -> PerturbationOptions:
    """A perturbation whose elastic distortion moves as large a share of the image as it does at ``reference_size``.

    Args:
        name: a key of :data:`PERTURBATIONS`.
        image_size: side of the images in pixels.
        reference_size: side of the images that the strengths are meant for; None keeps them.

    Raises:
        UserError: the name is unknown.
    """
    definition = definition_of(name)
    if reference_size is None:
        return definition
    # The field is noise smoothed over sigma: its height falls as 1 / sigma, so a shift that shrinks with the image
    # needs an alpha that shrinks with its square.
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
