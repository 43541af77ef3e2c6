"""Apply a table of parameters: the only place that defines the order of an augmentation's operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clever.augmentation import colour, fused
from clever.augmentation.blur import blur
from clever.augmentation.constants import constant
from clever.augmentation.cpu_chunks import in_chunks, put_rows_, set_rows, take_rows
from clever.augmentation.crop import crop_bytes, lay_out, resized_crop, table_box
from clever.augmentation.differentiable import FACTORS, differentiable_jitter, luma
from clever.augmentation.elastic import elastic
from clever.augmentation.options.augmentation import BlurFilter, Interpolation
from clever.augmentation.pixels import normalise_
from clever.augmentation.rotate import rotate
from clever.augmentation.sample import Table
from clever.augmentation.tables import move, take, upload


@dataclass(frozen=True)
class Coefficients:
    """The coefficients that the operations need in addition to the table."""

    size: int
    interpolation: Interpolation
    elastic_alpha: float
    elastic_sigma: float
    largest_blur: float
    blur_filter: BlurFilter
    solarise_threshold: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rotates_after_blur: bool = False
    """Rotate and distort elastically after the blur instead of before the colour operations."""
    fuse: bool = False
    """Compile chains of element-wise operations (:mod:`clever.augmentation.fused`)."""


def render(pixels: Tensor, table: Table, coefficients: Coefficients, out: Tensor) -> None:
    """Make R views of N images and write them to ``out``.

    Args:
        pixels: uint8 [N, 3, H, W].
        table: R rows on the CPU, R a multiple of N; row r is made from image r % N.
        out: float32 [R, 3, size, size] on the pixels' device, any memory format.
    """
    device = pixels.device
    pixels = lay_out(pixels)
    code = colour.jitter_code(table["jitter_applied"], table["jitter_order"])

    def work(rows: Tensor) -> None:
        some = take(table, rows)
        if coefficients.fuse:
            put_rows_(out, upload(rows, device), _distort_fused(pixels, rows % len(pixels), some, coefficients))
            return
        images = distort(pixels, rows % len(pixels), some, coefficients)
        put_rows_(out, upload(rows, device), normalise_(images, coefficients.mean, coefficients.std))

    # On a CPU, group rows that need the same colour operations; rows may be made in any order.
    order = code.argsort(stable=True) if device.type == "cpu" else torch.arange(len(code))
    in_chunks(work, order, crop_bytes(pixels, coefficients.size), device)


def render_differentiably(pixels: Tensor, table: Table, coefficients: Coefficients) -> tuple[Tensor, Tensor]:
    """Make one view of N images from a leaf tensor with the factors of its colour jitter.

    The jitter is computed by :mod:`clever.augmentation.differentiable`, which ignores ``jitter_order``; all other
    operations are the augmentation's.

    Args:
        pixels: uint8 [N, 3, H, W].
        table: N rows on the CPU.

    Returns:
        float32 [N, 3, size, size], normalised, and the leaf [N, 4] that gradients reach.
    """
    device, size = pixels.device, coefficients.size
    pixels = lay_out(pixels)
    undistorted = torch.empty(len(pixels), 3, size, size, device=device)

    def work(rows: Tensor) -> None:
        some = take(table, rows)
        put_rows_(undistorted, upload(rows, device), move_pixels(pixels, rows, some, move(some, device), coefficients))

    in_chunks(work, torch.arange(len(pixels)), crop_bytes(pixels, size), device)
    on_device = move(table, device)
    factors = torch.stack([on_device[name] for name in FACTORS], 1).requires_grad_()
    images = differentiable_jitter(undistorted, factors, on_device["jitter_applied"])
    images = torch.where(on_device["grayscale"].view(-1, 1, 1, 1), luma(images), images)
    largest, kind = coefficients.largest_blur, coefficients.blur_filter
    for rows in set_rows(table["blur_applied"], device):
        images = images.index_copy(0, rows, blur(images[rows], on_device["blur_radius"][rows], largest, kind))
    if coefficients.rotates_after_blur:
        images = _rotate_and_distort(images, table, on_device, coefficients)
    solarised = colour.solarise(images, coefficients.solarise_threshold)
    images = torch.where(on_device["solarise_applied"].view(-1, 1, 1, 1), solarised, images)
    mean, std = (constant(values, device).view(1, 3, 1, 1) for values in (coefficients.mean, coefficients.std))
    return (images - mean) / std, factors


def distort(pixels: Tensor, image: Tensor, table: Table, coefficients: Coefficients) -> Tensor:
    """All operations except the normalisation: float32 [R, 3, size, size] in [0, 1].

    Args:
        image: int64 [R] on the CPU, the image that each row of the table is applied to.
        table: R rows on the CPU.
    """
    device = pixels.device
    on_device = move(table, device)
    images = move_pixels(pixels, image, table, on_device, coefficients)

    images = colour.jitter(images, table, on_device)
    for rows in set_rows(table["grayscale"], device):
        put_rows_(images, rows, colour.grayscale(take_rows(images, rows)))

    _blur_(images, table, on_device, coefficients)
    if coefficients.rotates_after_blur:
        images = _rotate_and_distort(images, table, on_device, coefficients)
    for rows in set_rows(table["solarise_applied"], device):
        put_rows_(images, rows, colour.solarise(take_rows(images, rows), coefficients.solarise_threshold))
    return images


def _distort_fused(pixels: Tensor, image: Tensor, table: Table, coefficients: Coefficients) -> Tensor:
    """:func:`distort` and the normalisation, with compiled element-wise operations."""
    on_device = move(table, pixels.device)
    images = move_pixels(pixels, image, table, on_device, coefficients)
    factors = colour.jitter_factors(on_device)
    applied, order, grey = on_device["jitter_applied"], on_device["jitter_order"], on_device["grayscale"]
    images = fused.compiled(fused.colours)(images, applied, order, factors, grey)
    _blur_(images, table, on_device, coefficients)
    if coefficients.rotates_after_blur:
        images = _rotate_and_distort(images, table, on_device, coefficients)
    threshold, mean, std = coefficients.solarise_threshold, coefficients.mean, coefficients.std
    finished: Tensor = fused.compiled(fused.finished)(images, on_device["solarise_applied"], threshold, mean, std)
    return finished


def _blur_(images: Tensor, table: Table, on_device: Table, coefficients: Coefficients) -> None:
    largest, kind = coefficients.largest_blur, coefficients.blur_filter
    for rows in set_rows(table["blur_applied"], images.device):
        blurred = blur(take_rows(images, rows), on_device["blur_radius"][rows], largest, kind)
        put_rows_(images, rows, blurred)


def move_pixels(pixels: Tensor, image: Tensor, table: Table, on_device: Table, coefficients: Coefficients) -> Tensor:
    """The geometric operations that precede the colour operations: crop, flip and, unless the augmentation rotates
    after the blur, rotation and elastic distortion.

    Arguments and result are the same as for :func:`distort`; ``on_device`` is the table on the pixels' device.
    """
    size = coefficients.size
    box = table_box(on_device, size)
    rows_of = upload(image, pixels.device)
    fuse = coefficients.fuse
    images = resized_crop(pixels, rows_of, box, on_device["flip"], size, coefficients.interpolation, fuse=fuse)
    return images if coefficients.rotates_after_blur else _rotate_and_distort(images, table, on_device, coefficients)


def _rotate_and_distort(images: Tensor, table: Table, on_device: Table, coefficients: Coefficients) -> Tensor:
    """Rotate, then elastically distort the rows [R, 3, S, S] that the table selects; may change ``images``."""
    if bool(table["angle"].any()):
        images = rotate(images, on_device["angle"])
    for rows in set_rows(table["elastic_applied"], images.device):
        seed = on_device["elastic_seed"][rows]
        warped = elastic(take_rows(images, rows), seed, coefficients.elastic_alpha, coefficients.elastic_sigma)
        put_rows_(images, rows, warped)
    return images
