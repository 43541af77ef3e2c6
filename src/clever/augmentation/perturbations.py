"""Test-time perturbations of an image, after the authors' ``eval_linear.py:123-238``.

Each resizes the shorter side, crops the centre, applies its steps in order and normalises. The random parameters of an
image are a pure function of the seed, the perturbation and the image's index in its split, so they do not depend on
batch, device or order of evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.augmentation import colour
from clever.augmentation.cpu_chunks import in_chunks, put_rows_
from clever.augmentation.crop import centre_window, crop_bytes, lay_out, resized_crop
from clever.augmentation.elastic import elastic
from clever.augmentation.options.perturbations import PerturbationOptions, definition_of
from clever.augmentation.pixels import check_pixels, normalise_
from clever.augmentation.rotate import rotate
from clever.augmentation.sample import UNIFORMS, Distributions, Table, draw_uniforms, make_table
from clever.augmentation.tables import move, take, upload
from clever.errors import UserError
from clever.randomness import make_generator


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
        name: a key of ``PERTURBATIONS``; with ``options`` any name, which then only selects the random stream.
        pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
        sizes: int64 [N, 2], height and width of each image.
        image_size: side of the centre crop.
        resize_size: size of the shorter side after the initial resizing; at least ``image_size``.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        seed: seed of the random parameters; the same seed perturbs the same images in the same way.
        indices: int64 [N], each image's index in its split.
        options: the definition; None: the one in ``PERTURBATIONS`` (small images need a smaller alpha).
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

    The crop's columns describe a whole image of one pixel and have no meaning here.
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
