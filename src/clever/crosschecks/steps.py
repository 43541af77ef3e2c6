"""Warn about runs that are too short to show anything about a method."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.training_images import steps_per_epoch, training_images
from clever.invocation import DATA_ROOT

if TYPE_CHECKING:
    from clever.config import Study

FEWEST_STEPS = 200
"""Runs with fewer optimiser steps than this give a warning.

In the committed studies, no method exceeded the linear accuracy of the untrained network with fewer steps
(``tests/crosschecks/test_steps.py``); the shortest run that exceeds it is the demo's SimCLR, with 220. More steps do
not suffice for every method: DINO and SimSiam in ``paper_cpu`` fall below it with 372.
"""


def step_warnings(study: Study, stores: Path, data_root: str = DATA_ROOT) -> Iterator[str]:
    """Yield a line for each block whose runs take fewer than ``FEWEST_STEPS`` steps.

    Args:
        study: already validated.
        stores: folder of the prepared stores.
        data_root: folder that relative roots are relative to.
    """
    for block in study.blocks():
        images = training_images(study, block.data, stores, data_root)
        an_epoch = 0 if images is None else steps_per_epoch(study, block, images)
        steps = an_epoch * block.optimisation.epochs
        if 0 < steps < FEWEST_STEPS:
            epochs = math.ceil(FEWEST_STEPS / an_epoch)
            yield (
                f"{block.where}.optimisation: {steps} steps a run; in the committed studies, no method gained on the "
                f"untrained network with fewer than {FEWEST_STEPS}; set epochs to {epochs} or more, or lower batch_size"
            )
