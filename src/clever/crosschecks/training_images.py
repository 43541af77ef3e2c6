"""The number of images that a block trains on, and its number of steps, before anything is prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.prepared import stored_training_images
from clever.data.counts import in_groups, most_training_images
from clever.data.folder_files import training_files
from clever.invocation import DATA_ROOT

if TYPE_CHECKING:
    from clever.blocks import Block
    from clever.config import Study


def training_images(study: Study, name: str, stores: Path, data_root: str = DATA_ROOT) -> int | None:
    """The number of training images of a data set, or an upper bound; None if nothing determines one.

    The number is exact if the store is prepared. Before that, it comes from the files of an image folder or from the
    limits in the options.

    Args:
        study: already validated.
        name: name of the data set.
        stores: folder of the prepared stores.
        data_root: folder that relative roots are relative to.
    """
    options = study.data_options(name, data_root)
    images = stored_training_images(options, stores / name)
    if images is None and options.source == "image_folder":
        images = training_files(options)
    return most_training_images(options) if images is None else images


def steps_per_epoch(study: Study, block: Block, images: int) -> int:
    """Optimiser steps of an epoch; 0 if there are fewer images than a batch holds."""
    # With pairs, a step takes a batch of objects.
    paired = any(views.pairs for views in block.augmentations.values())
    return in_groups(study.data[block.data], images, paired) // block.optimisation.batch_size
