"""What padding the images of a batch to one size costs."""

from __future__ import annotations

BATCHES_IN_MEMORY = 3
"""Batches of padded images that are there at a time: the one in use, and those that are read ahead."""


def padding_refusal(images: int, height: int, width: int, memory: int) -> str | None:
    """Why a batch of encoded images does not fit in ``memory`` bytes, where it is padded to the largest height and the
    largest width of the set; None where it does."""
    needed = BATCHES_IN_MEMORY * 3 * images * height * width
    if needed <= memory:
        return None
    return (
        f"{images} images are padded to one size, at worst {height} x {width} pixels (height x width), which takes "
        f"{needed / 1e9:.0f} GB for the {BATCHES_IN_MEMORY} batches that are read at a time, and the machine has "
        f"{memory / 1e9:.0f} GB; lower the batch, or bound the images: set image_size of the data, and crop or remove "
        "those that are many times as long as wide"
    )
