"""Which of the study's lengths is run: decided by a rule that was written down before anything was measured."""

from __future__ import annotations

from pathlib import Path

from clever.config import Study, load_study
from clever.gpu_check.benchmarks import checkout

NAMES = ("cifar10_gpu_long", "cifar10_gpu", "cifar10_gpu_short")
"""Studies that differ in their epochs alone, the longest first."""
SEEDS = 3
"""The longest study is taken of which this many seeds fit; the shortest where none does."""
SECONDS_OF_A_RUN = 14.0
"""Start and evaluations of one run, during which the others have the card: counted for the last one of each process."""
SLOWER_THAN_TRIAL = 1.15
"""What saving, diagnosing and evaluating add to the training of the trial."""


def study_file(name: str) -> Path:
    """The study's file in the checkout."""
    return checkout() / "workflow" / "studies" / f"{name}.yaml"


def open_study(name: str) -> Study:
    """The study of the checkout."""
    return load_study(study_file(name))


def trained_images(study: Study) -> int:
    """Images that pass in the training of one seed of all methods."""
    total = 0
    for block in study.pretrainings:
        if block.seeds[0] == study.pretrainings[0].seeds[0]:
            limit = study.data[block.data].train_limit
            assert limit is not None
            total += block.optimisation.epochs * limit * len(block.methods) * len(block.augmentations)
    return total


def predicted_seconds(images: int, images_per_second: float) -> float:
    """Of a training of so many images, by all processes that share the card together."""
    return SLOWER_THAN_TRIAL * images / images_per_second + SECONDS_OF_A_RUN


def choose(studies: dict[str, Study], images_per_second: float, seconds: float) -> str:
    """The name of the study to run.

    Args:
        studies: the longest first.
        images_per_second: of all processes that share the card together, as the trial has measured.
        seconds: there are.
    """
    for name, study in studies.items():
        if predicted_seconds(SEEDS * trained_images(study), images_per_second) <= seconds:
            return name
    return list(studies)[-1]
