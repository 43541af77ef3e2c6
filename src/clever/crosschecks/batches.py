"""Check batch sizes: not more than the available images, and not one image where a method needs several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.backbones.facts import facts
from clever.data.counts import OBJECT_VIEWS, most_training_images

if TYPE_CHECKING:
    from clever.config import PretrainingOptions, Study


def batch_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each batch larger than the training set and for each batch of one image that cannot work."""
    for place, block in enumerate(study.pretrainings):
        where, options = f"pretrainings.{place}.optimisation", block.optimisation
        most = most_training_images(study.data[block.data])
        paired = any(study.augmentations[name].pairs for name in block.augmentations)
        if most is not None and options.batch_size > (most // OBJECT_VIEWS if paired else most):
            yield (
                f"{where}.batch_size: {options.batch_size} exceeds the "
                f"{f'{most // OBJECT_VIEWS} objects' if paired else f'{most} training images'} that data.{block.data} "
                "can have; lower it"
            )
        if options.batch_size // options.accumulate == 1:
            yield from _single_image_faults(study, block, where)


def _single_image_faults(study: Study, block: PretrainingOptions, where: str) -> Iterator[str]:
    cut = block.optimisation.accumulate > 1
    what = f"accumulate {block.optimisation.accumulate} cuts the batch to one image" if cut else "a batch of one image"
    key = f"{where}.{'accumulate' if cut else 'batch_size'}"
    cure = "lower accumulate" if cut else "raise batch_size"
    for name in block.backbones:
        if facts(study.backbones[name]).batch_norm:
            yield (
                f"{key}: {what}, but BatchNorm in backbones.{name} needs several images; {cure}, or choose a "
                "backbone without BatchNorm (vit_tiny)"
            )
    from clever.crosschecks.heads import compares_images, has_batch_norm  # builds heads, which takes a moment

    for name in block.methods:
        method = study.methods[name]
        if has_batch_norm(method):
            yield f"{key}: {what}, but BatchNorm in the head of methods.{name} needs several images; {cure}"
        elif compares_images(method):
            yield f"{key}: {what}, but methods.{name} ({method.baseline.name}) compares the images of a batch; {cure}"
