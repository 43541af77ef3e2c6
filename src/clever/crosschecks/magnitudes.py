"""Check sizes that are valid individually but too large together: widths of heads, images, batches of views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clever.data.pixel_limit import PIXEL_LIMIT

if TYPE_CHECKING:
    from clever.config import Study

WEIGHT_LIMIT = 2**38
"""Limit in bytes of one method's heads (256 GiB); with gradients, moments and a teacher they take four times as
much."""

VIEW_LIMIT = 2**40
"""Limit in bytes of the views of one batch, or of the images of one pass of an evaluation (1 TiB)."""

_WIDE = 2**18
"""Heads with widths below this are not built for the check; the paper's largest is 65,536."""


def magnitude_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each data set, head, batch of views and evaluation that exceeds the memory of any machine."""
    for name, data in study.data.items():
        if data.image_size is not None and data.image_size**2 > PIXEL_LIMIT:
            yield f"data.{name}.image_size: {data.image_size}, but images may have at most {PIXEL_LIMIT} pixels"
    blocks = study.blocks()
    for name, method in {**study.methods, **{k: v for block in blocks for k, v in block.methods.items()}}.items():
        if max(_numbers(method.model_dump()), default=0) > _WIDE:
            from clever.crosschecks.heads import head_bytes

            needed = head_bytes(method)
            if needed > WEIGHT_LIMIT:
                yield (
                    f"methods.{name}: its heads have {needed / 1e9:.0f} GB of weights, more than any machine holds; "
                    "lower its widths (the paper's largest is 65536)"
                )
    for block in blocks:
        for name, views in block.augmentations.items():
            local = views.local_views * getattr(views, "local_size", 0) ** 2
            needed = 12 * block.optimisation.batch_size * (2 * views.global_size**2 + local)
            if needed > VIEW_LIMIT:
                yield (
                    f"{block.where}.optimisation.batch_size: {block.optimisation.batch_size} images with the "
                    f"views of augmentations.{name} take {needed / 1e9:.0f} GB per step; lower it, or the sizes"
                )
    for protocol, options in study.evaluation_options().items():
        size, images = getattr(options, "image_size", None) or 0, getattr(options, "extraction_batch", 0)
        if 12 * images * size**2 > VIEW_LIMIT:
            yield (
                f"evaluations.{protocol}: {images} images (extraction_batch) of {size} px (image_size) take "
                f"{12 * images * size**2 / 1e9:.0f} GB per pass; lower one of them"
            )


def _numbers(content: Any) -> Iterator[int]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _numbers(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _numbers(value)
    elif isinstance(content, int):
        yield content
