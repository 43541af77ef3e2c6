"""Check what individual protocols need from backbones and images, beyond the needs of every evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.backbones.options import OWN_NAMES
from clever.data.counts import stored_side
from clever.evaluation import PROTOCOLS
from clever.evaluation.imagenet_c import SMALLEST

if TYPE_CHECKING:
    from clever.config import Study


def need_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each backbone without the feature map that a protocol reads, and for images too small to
    corrupt."""
    trained = [recipe for recipe in study.recipes().values() if recipe.method is not None]
    backbones = {recipe.backbone_name: recipe.backbone for recipe in trained}
    for protocol, options in study.evaluation_options().items():
        kind = protocol.partition("+")[0]
        if PROTOCOLS[kind].needs_map:
            for name, backbone in backbones.items():
                reason = None
                if backbone.name not in OWN_NAMES:
                    from clever.backbones.registry import map_refusal  # loads timm, which takes seconds

                    reason = map_refusal(backbone)
                if reason is not None:
                    yield f"evaluations.{protocol}: backbones.{name}: {reason}"
        if kind == "corruption":
            for data in sorted({recipe.data for recipe in trained}):
                size: int | None = getattr(options, "image_size", None) or stored_side(study.data[data])
                if size is not None and size < SMALLEST:
                    yield (
                        f"evaluations.{protocol}: the images of data.{data} have {size} px, but corruptions need at "
                        f"least {SMALLEST} px: set its image_size to {SMALLEST}, or leave {protocol} out"
                    )
