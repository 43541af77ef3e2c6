"""Apply a table of parameters: the one place where a recipe's operations stand in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clever.augmentation import colour
from clever.augmentation.blur import gaussian_blur, kernel_half_width
from clever.augmentation.crop import Interpolation, resized_crop, whole_window
from clever.augmentation.elastic import elastic
from clever.augmentation.pixels import normalise_
from clever.augmentation.rotate import rotate
from clever.augmentation.sample import Table
from clever.augmentation.tables import move, take

# A chunk should stay in a processor's last-level cache from one operation to the next; a GPU only wants its
# intermediate results to be small beside its memory.
_CHUNK_BYTES = {"cpu": 6 * 2**20, "cuda": 2**30}


@dataclass(frozen=True)
class Coefficients:
    """What the operations need beside the table."""

    size: int
    interpolation: Interpolation
    elastic_alpha: float
    elastic_sigma: float
    largest_blur: float
    solarise_threshold: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def render(pixels: Tensor, table: Table, coefficients: Coefficients, out: Tensor) -> None:
    """Make R views of N images and write them to ``out``.

    Args:
        pixels: uint8 [N, 3, H, W].
        table: R rows on the CPU, R a multiple of N; row r is made from image r % N.
        out: float32 [R, 3, size, size] on the pixels' device, any memory format.
    """
    device = pixels.device
    code = colour.jitter_code(table["jitter_applied"], table["jitter_order"])
    # Rows that need the same colour operations stand together; any row may be made at any time.
    for rows in code.argsort(stable=True).split(_rows_per_chunk(device, coefficients.size)):
        images = distort(pixels, rows % len(pixels), take(table, rows), coefficients)
        out.index_copy_(0, _upload(rows, device), normalise_(images, coefficients.mean, coefficients.std))


def distort(pixels: Tensor, image: Tensor, table: Table, coefficients: Coefficients) -> Tensor:
    """All operations but the normalisation: float32 [R, 3, size, size] in [0, 1].

    Args:
        image: int64 [R] on the CPU, the image that each row of the table is applied to.
        table: R rows on the CPU.
    """
    device, size = pixels.device, coefficients.size
    there = move(table, device)
    box = whole_window(*(there[f"crop_{part}"] for part in ("top", "left", "height", "width")), size)
    images = resized_crop(pixels, _upload(image, device), box, there["flip"], size, coefficients.interpolation)

    if bool(table["angle"].any()):
        images = rotate(images, there["angle"])
    for rows in _where(table["elastic_applied"], device):
        seed = there["elastic_seed"][rows]
        images[rows] = elastic(images[rows], seed, coefficients.elastic_alpha, coefficients.elastic_sigma)

    images = colour.jitter(images, table, there)
    for rows in _where(table["grayscale"], device):
        images[rows] = colour.grayscale(images[rows])

    half_width = kernel_half_width(coefficients.largest_blur)
    for rows in _where(table["blur_applied"], device):
        images[rows] = gaussian_blur(images[rows], there["blur_radius"][rows], half_width)
    for rows in _where(table["solarise_applied"], device):
        images[rows] = colour.solarise(images[rows], coefficients.solarise_threshold)
    return images


def _rows_per_chunk(device: torch.device, size: int) -> int:
    return max(1, _CHUNK_BYTES.get(device.type, _CHUNK_BYTES["cuda"]) // (3 * size * size * 4))


def _where(flags: Tensor, device: torch.device) -> Iterator[Tensor]:
    """The set rows of a CPU column, on the device, once; nothing if there are none."""
    rows = flags.nonzero().squeeze(1)
    if len(rows):
        yield _upload(rows, device)


def _upload(rows: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        return rows.pin_memory().to(device, non_blocking=True)
    return rows.to(device)
