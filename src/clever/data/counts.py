"""The number of images of a data set and their stored size, as far as its options determine them."""

from __future__ import annotations

from clever.data.options import DataOptions

TRAIN_COUNTS = {"digits": 1437, "cifar10": 50_000, "cifar100": 50_000}
"""Number of training images of the sources with a fixed size."""

SPIROGRAPHS = 5000
"""Number of spirographs drawn without a ``train_limit`` (by ``clever.data.spirograph``)."""

OBJECT_VIEWS = 50
"""Number of photographs per object of 3DIEBench."""

_OWN_SIDES = {"digits": 32, "cifar10": 32, "cifar100": 32, "spirograph": 32}


def most_training_images(options: DataOptions) -> int | None:
    """The number of training images, or an upper bound; None if the options determine neither."""
    if options.source == "spirograph":
        return options.train_limit or SPIROGRAPHS
    known = [count for count in (TRAIN_COUNTS.get(options.source), options.train_limit) if count is not None]
    return min(known, default=None)


def stored_side(options: DataOptions) -> int | None:
    """Side of the stored squares; None if unknown, and for encoded stores, whose images keep their sizes."""
    if options.format == "encoded":
        return None
    return options.image_size or _OWN_SIDES.get(options.source)
