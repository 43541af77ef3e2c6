"""The linear probe's training transform: random resized crop, flip, normalisation (authors' ``eval_linear.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever.augmentation.cpu_chunks import in_chunks, put_rows_
from clever.augmentation.crop import crop_bytes, lay_out, resized_crop, table_box
from clever.augmentation.options.augmentation import Interpolation
from clever.augmentation.pixels import check_pixels, normalise_
from clever.augmentation.sample import Distributions, draw_uniforms, make_table
from clever.augmentation.tables import move, take, upload


def probe_views(
    pixels: Tensor,
    sizes: Tensor,
    generator: torch.Generator,
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip_probability: float = 0.5,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """One training view of every image.

    Args:
        pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
        sizes: int64 [N, 2], height and width of each image.
        generator: a CPU generator; the crops are the same whatever device the pixels are on.
        image_size: side of the view.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        scale, ratio, flip_probability, interpolation: torchvision's defaults, as the authors use them.

    Returns:
        float32 [N, 3, image_size, image_size] on the pixels' device, normalised.

    Raises:
        UserError: if the pixels are not uint8 images or the normalisation is not three numbers each.
    """
    check_pixels(pixels, sizes)
    drawn = Distributions(scale=scale, ratio=ratio, flip=flip_probability)
    table = make_table(draw_uniforms(len(pixels), generator), sizes.cpu(), drawn)
    pixels = lay_out(pixels)
    out = torch.empty(len(pixels), 3, image_size, image_size, device=pixels.device)

    def work(rows: Tensor) -> None:
        on_device = move(take(table, rows), pixels.device)
        rows = upload(rows, pixels.device)
        images = resized_crop(
            pixels, rows, table_box(on_device, image_size), on_device["flip"], image_size, interpolation
        )
        put_rows_(out, rows, normalise_(images, mean, std))

    in_chunks(work, torch.arange(len(pixels)), crop_bytes(pixels, image_size), pixels.device)
    return out
