"""Choose the study's length by a rule that was fixed before anything was measured."""

from __future__ import annotations

from pathlib import Path

from clever.config import Study, load_study
from clever.gpu_check.benchmarks import checkout

NAMES = ("cifar10_gpu_long", "cifar10_gpu", "cifar10_gpu_short")
"""Studies that differ only in their epochs, the longest first."""
SEEDS = 3
"""The longest study of which this many seeds fit in the time is chosen; if none fits, the shortest."""
SECONDS_OF_A_RUN = 14.0
"""Seconds to start and evaluate one run while others use the card; counted once per process, for its last run."""
SLOWER_THAN_TRIAL = 1.15
"""Factor by which saving, diagnostics and evaluations lengthen the training measured in the trial."""


def study_file(name: str) -> Path:
    """The path of a study's file in the checkout."""
    return checkout() / "workflow" / "studies" / f"{name}.yaml"


def open_study(name: str) -> Study:
    """Load a study of the checkout."""
    return load_study(study_file(name))


def trained_images(study: Study) -> int:
    """Number of images processed in training one seed of all methods."""
    total = 0
    for block in study.blocks():
        if block.seeds[0] == study.pretrainings[0].seeds[0]:
            limit = study.data[block.data].train_limit
            assert limit is not None
            total += block.optimisation.epochs * limit * len(block.methods) * len(block.augmentations)
    return total


def predicted_seconds(images: int, images_per_second: float) -> float:
    """Seconds to train on so many images with all processes that share the card."""
    return SLOWER_THAN_TRIAL * images / images_per_second + SECONDS_OF_A_RUN


def choose(studies: dict[str, Study], images_per_second: float, seconds: float) -> str:
    """The name of the study to run.

    Args:
        studies: longest first.
        images_per_second: rate of all processes that share the card, measured by the trial.
        seconds: available time.
    """
    for name, study in studies.items():
        if predicted_seconds(SEEDS * trained_images(study), images_per_second) <= seconds:
            return name
    return list(studies)[-1]
