"""Warn about momentum teachers that hardly leave their initialisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.training_images import steps_per_epoch, training_images
from clever.invocation import DATA_ROOT

if TYPE_CHECKING:
    from clever.config import Study


def teacher_warnings(study: Study, stores: Path, data_root: str = DATA_ROOT) -> Iterator[str]:
    """Yield a line for each method of a block whose teacher is more than half its initialisation when a run ends.

    Args:
        study: already validated.
        stores: folder of the prepared stores. Before a data set is prepared, the largest possible number of its images
            is used, if its folder or its options determine one; otherwise there is no warning.
        data_root: folder that relative roots are relative to.
    """
    from clever.pretraining.momentum_teacher import unmoved_teacher

    for block in study.blocks():
        images = training_images(study, block.data, stores, data_root)
        if images is None:
            continue
        steps = block.optimisation.epochs * steps_per_epoch(study, block, images)
        for name, method in block.methods.items():
            line = unmoved_teacher(method, steps) if steps else None
            if line is not None:
                yield f"{block.where}: methods.{name}: {line}"
