"""The number of images of a data set and their stored size, as far as its options determine them."""

from __future__ import annotations

from clever.data.options import DataOptions
from clever.data.registry import SOURCES

SPIROGRAPHS = 5000
"""Number of spirographs drawn without a ``train_limit`` (by ``clever.data.spirograph``)."""

OBJECT_VIEWS = 50
"""Number of photographs per object of 3DIEBench."""


def most_training_images(options: DataOptions) -> int | None:
    """The number of training images, or an upper bound; None if the options determine neither."""
    if options.source == "spirograph":
        return options.train_limit or SPIROGRAPHS
    counts = SOURCES[options.source].counts
    known = [count for count in (counts and counts[0], options.train_limit) if count is not None]
    return min(known, default=None)


def stored_side(options: DataOptions) -> int | None:
    """Side of the stored squares; None if unknown, and for encoded stores, whose images keep their sizes."""
    if options.format == "encoded":
        return None
    return options.image_size or SOURCES[options.source].side
