"""The number of images of a data set and their stored size, as far as its options determine them."""

from __future__ import annotations

from clever.data.options import DataOptions
from clever.data.registry import SOURCES


def most_training_images(options: DataOptions) -> int | None:
    """The number of training images, or an upper bound; None if the options determine neither."""
    kind = SOURCES[options.source]
    if kind.drawn is not None:
        return options.train_limit or kind.drawn[0]
    counts = kind.counts
    known = [count for count in (counts and counts[0], options.train_limit) if count is not None]
    return min(known, default=None)


def in_groups(options: DataOptions, images: int, paired: bool) -> int:
    """Convert a number of images to the number of groups: objects if ``paired``, else images."""
    views = SOURCES[options.source].object_views
    return images // views if paired and views else images


def stored_side(options: DataOptions) -> int | None:
    """Side of the stored squares; None if unknown, and for encoded stores, whose images keep their sizes."""
    if options.format == "encoded":
        return None
    return options.image_size or SOURCES[options.source].side
