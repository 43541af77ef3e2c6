"""The memory cost of padding the images of a batch to one size."""

from __future__ import annotations

BATCHES_IN_MEMORY = 3
"""Number of padded batches in memory at a time: the one in use, and those that are read ahead."""


def padding_refusal(images: int, height: int, width: int, memory: int) -> str | None:
    """The reason why a batch of encoded images does not fit in ``memory`` bytes when padded to the largest height and
    the largest width of the set; None if it fits."""
    needed = BATCHES_IN_MEMORY * 3 * images * height * width
    if needed <= memory:
        return None
    return (
        f"{images} images are padded to one size, at worst {height} x {width} pixels (height x width), which takes "
        f"{needed / 1e9:.0f} GB for the {BATCHES_IN_MEMORY} batches in memory at a time, and the machine has "
        f"{memory / 1e9:.0f} GB; lower the batch size, or limit the images: set image_size of the data, and crop or "
        "remove images that are many times as long as wide"
    )
