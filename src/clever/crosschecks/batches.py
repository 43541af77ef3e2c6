"""Check batch sizes: no batch may exceed the available images, or hold a single image if the method needs several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.backbones.facts import facts
from clever.data.counts import in_groups, most_training_images

if TYPE_CHECKING:
    from clever.blocks import Block
    from clever.config import Study


def batch_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each batch larger than the training set and for each batch of one image that cannot work."""
    for block in study.blocks():
        where, options = f"{block.where}.optimisation", block.optimisation
        most = most_training_images(study.data[block.data])
        paired = any(views.pairs for views in block.augmentations.values())
        if most is not None and options.batch_size > (groups := in_groups(study.data[block.data], most, paired)):
            yield (
                f"{where}.batch_size: {options.batch_size} exceeds the {groups} "
                f"{'objects' if paired else 'training images'} that data.{block.data} can have; lower it"
            )
        if options.batch_size // options.accumulate == 1:
            yield from _single_image_faults(block, where)


def _single_image_faults(block: Block, where: str) -> Iterator[str]:
    cut = block.optimisation.accumulate > 1
    what = f"accumulate {block.optimisation.accumulate} cuts the batch to one image" if cut else "a batch of one image"
    key = f"{where}.{'accumulate' if cut else 'batch_size'}"
    cure = "lower accumulate" if cut else "raise batch_size"
    for name, backbone in block.backbones.items():
        if facts(backbone).batch_norm:
            yield (
                f"{key}: {what}, but BatchNorm in backbones.{name} needs several images; {cure}, or choose a "
                "backbone without BatchNorm (vit_tiny)"
            )
    from clever.crosschecks.heads import compares_images, has_batch_norm  # builds heads, which takes some time

    for name, method in block.methods.items():
        if has_batch_norm(method):
            yield f"{key}: {what}, but BatchNorm in the head of methods.{name} needs several images; {cure}"
        elif compares_images(method):
            yield f"{key}: {what}, but methods.{name} ({method.baseline.name}) compares the images of a batch; {cure}"
