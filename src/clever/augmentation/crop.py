"""Crop a separate box from every image of a batch and resize it with antialiasing and an optional left-right flip.

The result is torchvision's ``resized_crop(..., antialias=True)`` (Pillow's resampling) followed by ``hflip``. There are
two implementations, chosen by device:

* *matrix*: a separable filter is a matrix, and a batch of boxes is a batch of matrices. A crop is two batched matrix
  products, and a flip reverses one of the matrices. Only pixels inside the crop have nonzero weights.
* *native*: torch's antialiased uint8 kernel, image by image. It exists only for CPUs, where it is faster than the
  matrices except for small images, because it uses the filter's sparsity. Its result is rounded to whole grey levels,
  like Pillow's.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clever.augmentation import fused
from clever.augmentation.options.augmentation import Interpolation
from clever.augmentation.sample import Table

Way = Literal["matrix", "native"]

_SUPPORT: dict[Interpolation, float] = {"bicubic": 2.0, "bilinear": 1.0}


@dataclass(frozen=True)
class Box:
    """The part of each image that is resized, its new size, and the part of the result that is kept.

    All are int64 [N] on the images' device. ``full_*`` is the size that the box is resized to, ``offset_*`` the start
    of the kept window in it: 0 unless a centre crop follows the resizing.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    full_height: Tensor
    full_width: Tensor
    offset_top: Tensor
    offset_left: Tensor


def table_box(table: Table, size: int) -> Box:
    """The crops of a table of parameters, resized to [size, size] and kept whole."""
    top = table["crop_top"]
    full, zero = torch.full_like(top, size), torch.zeros_like(top)
    return Box(top, table["crop_left"], table["crop_height"], table["crop_width"], full, full, zero, zero)


def choose_way(device: torch.device, height: int, width: int) -> Way:
    """The faster implementation for images of this size on this device."""
    return "native" if device.type == "cpu" and height * width > 64 * 64 else "matrix"


def lay_out(pixels: Tensor, way: Way | None = None) -> Tensor:
    """The images in the memory format that :func:`resized_crop` prefers; convert once before repeated calls.

    The native kernel is several times faster if a pixel's channels are contiguous in memory.
    """
    way = way or choose_way(pixels.device, pixels.shape[2], pixels.shape[3])
    return pixels.contiguous(memory_format=torch.channels_last) if way == "native" else pixels


def crop_bytes(pixels: Tensor, size: int, way: Way | None = None) -> int:
    """Size in bytes of the largest intermediate result per row of :func:`resized_crop`."""
    height, width = pixels.shape[2:]
    way = way or choose_way(pixels.device, height, width)
    return 12 * (max(size * size, height * width) if way == "matrix" else size * size)


def resized_crop(
    pixels: Tensor,
    rows: Tensor,
    box: Box,
    flip: Tensor,
    size: int,
    interpolation: Interpolation = "bicubic",
    way: Way | None = None,
    fuse: bool = False,
) -> Tensor:
    """Resize each row's box to ``size`` and mirror it where ``flip`` is set.

    Args:
        pixels: uint8 [N, 3, H, W].
        rows: int64 [R]; the image from which each row of the result is taken.
        box: [R] each.
        flip: bool [R].
        way: None chooses by device and size.
        fuse: compile the operations around the matrix products, and compute the products in TF32
            (:mod:`clever.augmentation.fused`).

    Returns:
        float32 [R, 3, size, size] in [0, 1].
    """
    way = way or choose_way(pixels.device, pixels.shape[2], pixels.shape[3])
    if way == "native":
        return _native(pixels, rows, box, flip, size, interpolation)
    with fused.tf32_products() if fuse else nullcontext():
        return _by_matrices(pixels, rows, box, flip, size, interpolation, fuse)


def resampling_matrix(
    start: Tensor,
    length: Tensor,
    full: Tensor,
    offset: Tensor,
    flip: Tensor,
    size: int,
    source: int,
    interpolation: Interpolation,
) -> Tensor:
    """The matrices that resize ``source[start : start + length]`` to ``full`` and keep ``[offset : offset + size]``.

    Args:
        start, length, full, offset: int64 [N]; flip: bool [N], reverses the kept window.

    Returns:
        float32 [N, size, source]; each row sums to 1 and is 0 outside the box.
    """
    scale = (length.float() / full.float()).view(-1, 1, 1)
    stretch = scale.clamp_min(1.0)
    kept = torch.arange(size, device=start.device)
    kept = torch.where(flip.view(-1, 1), size - 1 - kept, kept) + offset.view(-1, 1)
    centre = scale * (kept.unsqueeze(2) + 0.5)
    pixel = torch.arange(source, device=start.device) - start.view(-1, 1)
    inside = ((pixel >= 0) & (pixel < length.view(-1, 1))).unsqueeze(1)
    distance = ((pixel.unsqueeze(1) + 0.5 - centre) / stretch).abs_()
    weight = _FILTERS[interpolation](distance).mul_(inside)
    return weight.div_(weight.sum(2, keepdim=True))


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -0.5, Pillow's and torch's antialiased bicubic."""
    # The outer piece (0 from 2 on), plus the difference to the inner piece; comparisons and selections are slow.
    distance = distance.clamp_max(2.0)
    outer = (distance * -0.5).add_(2.5).mul_(distance).sub_(4.0).mul_(distance).add_(2.0)
    return outer.addcmul_((1.0 - distance).clamp_min_(0.0).square_(), distance.mul_(2.0).sub_(1.0))


def _triangle(distance: Tensor) -> Tensor:
    return (1.0 - distance).clamp_min_(0.0)


_FILTERS = {"bicubic": _cubic, "bilinear": _triangle}


def _by_matrices(
    pixels: Tensor, rows: Tensor, box: Box, flip: Tensor, size: int, interpolation: Interpolation, fuse: bool
) -> Tensor:
    height, width = pixels.shape[2:]
    never = torch.zeros_like(flip)
    matrix = fused.compiled(resampling_matrix) if fuse else resampling_matrix
    vertical = matrix(box.top, box.height, box.full_height, box.offset_top, never, size, height, interpolation)
    horizontal = matrix(box.left, box.width, box.full_width, box.offset_left, flip, size, width, interpolation)
    if fuse:
        source = fused.compiled(fused.floats)(pixels, rows)
    else:
        source = pixels.index_select(0, rows).to(torch.float32).div_(255.0)
    # Horizontally first, with a clamp before the vertical product: Pillow's intermediate image cannot overshoot.
    wide = torch.matmul(source, horizontal.transpose(1, 2).unsqueeze(1)).clamp_(0.0, 1.0)
    return torch.matmul(vertical.unsqueeze(1), wide).clamp_(0.0, 1.0)


def _native(pixels: Tensor, rows: Tensor, box: Box, flip: Tensor, size: int, interpolation: Interpolation) -> Tensor:
    source = lay_out(pixels, "native")
    result = torch.empty(len(rows), size, size, 3, dtype=torch.uint8)
    columns = (rows, box.top, box.left, box.height, box.width, box.full_height, box.full_width)
    jobs = list(zip(*(c.tolist() for c in (*columns, box.offset_top, box.offset_left, flip)), strict=True))

    for index, (row, top, left, height, width, full_height, full_width, down, right, mirrored) in enumerate(jobs):
        crop = source[row : row + 1, :, top : top + height, left : left + width]
        if (height, width) != (full_height, full_width):
            crop = functional.interpolate(crop, (full_height, full_width), mode=interpolation, antialias=True)
        kept = crop[0, :, down : down + size, right : right + size]
        result[index] = (kept.flip(2) if mirrored else kept).permute(1, 2, 0)
    return result.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def centre_window(sizes: Tensor, resize_size: int, image_size: int) -> Box:
    """Torchvision's ``Resize(resize_size)`` and ``CenterCrop(image_size)`` of whole images as one box."""
    height, width = sizes.unbind(1)
    shorter = torch.minimum(height, width)
    # torchvision truncates resize_size * longer / shorter; integer division does so without rounding errors.
    full_height = resize_size * height // shorter
    full_width = resize_size * width // shorter
    zero = torch.zeros_like(height)
    return Box(
        top=zero,
        left=zero,
        height=height,
        width=width,
        full_height=full_height,
        full_width=full_width,
        offset_top=((full_height - image_size) / 2.0).round().long(),
        offset_left=((full_width - image_size) / 2.0).round().long(),
    )
