"""How many images a data set has, and how large they are stored, as far as its options alone tell."""

from __future__ import annotations

from clever.data.options import DataOptions

TRAIN_COUNTS = {"digits": 1437, "cifar10": 50_000, "cifar100": 50_000}
"""Training images of the sources that always have as many."""

SPIROGRAPHS = 5000
"""Spirographs that are drawn where ``train_limit`` is left out (``clever.data.spirograph`` draws them)."""

OBJECT_VIEWS = 50
"""Photographs of one object of 3DIEBench."""

_OWN_SIDES = {"digits": 32, "cifar10": 32, "cifar100": 32, "spirograph": 32}


def most_training_images(options: DataOptions) -> int | None:
    """The number of training images, or a bound that they cannot exceed; None where the options tell neither."""
    if options.source == "spirograph":
        return options.train_limit or SPIROGRAPHS
    known = [count for count in (TRAIN_COUNTS.get(options.source), options.train_limit) if count is not None]
    return min(known, default=None)


def stored_side(options: DataOptions) -> int | None:
    """Side of the stored squares; None for encoded stores, whose images keep their sizes, and where it is not known."""
    if options.format == "encoded":
        return None
    return options.image_size or _OWN_SIDES.get(options.source)
