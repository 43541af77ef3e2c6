"""Warn of momentum teachers that hardly leave their initialisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.prepared import stored_training_images
from clever.data.counts import in_groups, most_training_images

if TYPE_CHECKING:
    from clever.config import Study


def teacher_warnings(study: Study, stores: Path) -> Iterator[str]:
    """Yield a line for each method of a block whose teacher is more than half its initialisation when a run ends.

    Args:
        study: already validated.
        stores: folder of the prepared stores. Before a data set is prepared, the largest possible number of its images
            counts, if its options determine one; else nothing is said about it.
    """
    from clever.pretraining.momentum_teacher import unmoved_teacher

    for block in study.blocks():
        options = study.data[block.data]
        images = stored_training_images(options, stores / block.data)
        images = most_training_images(options) if images is None else images
        # Pairs take one step per batch of objects.
        paired = any(views.pairs for views in block.augmentations.values())
        groups = in_groups(options, images, paired)
        if groups is None:
            continue
        steps = block.optimisation.epochs * (groups // block.optimisation.batch_size)
        for name, method in block.methods.items():
            line = unmoved_teacher(method, steps) if steps else None
            if line is not None:
                yield f"{block.where}: methods.{name}: {line}"
