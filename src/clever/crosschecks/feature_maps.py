"""Check that backbones have the feature maps that their methods need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.backbones.facts import facts

if TYPE_CHECKING:
    from clever.config import Study


def map_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each method that needs a feature map which a backbone of its runs does not have."""
    for block in study.blocks():
        for name, method in block.methods.items():
            for part in (method.baseline, method.equivariance):
                for number in part.needed_maps():
                    for backbone, options in block.backbones.items():
                        count = facts(options).maps
                        if number >= count:
                            cure = f"choose maps below {count}" if count else "choose a ResNet or a ViT"
                            yield (
                                f"{block.where}: methods.{name}: {part.name} needs feature map {number}, but "
                                f"backbones.{backbone} ({options.name}) has {count or 'none'}; {cure}"
                            )
