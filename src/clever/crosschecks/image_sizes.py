"""Check the sizes of crops and evaluated images, and numbers of blocks, against the backbones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.backbones.facts import facts, refusal
from clever.data.counts import stored_side
from clever.evaluation.options.external import ExternalOptions

if TYPE_CHECKING:
    from clever.config import Study
    from clever.pretraining.recipe import RunRecipe


def size_faults(study: Study) -> Iterator[str]:
    """Yield a fault for invalid backbone options, and for crops and evaluated images that a backbone cannot take."""
    trained = [recipe for recipe in study.recipes().values() if recipe.method is not None]
    for recipe in {recipe.backbone_name: recipe for recipe in trained}.values():
        reason = refusal(recipe.backbone)
        if reason is not None:
            yield f"backbones.{recipe.backbone_name}: {reason}"
            return  # with these options, every size would fail for the same reason
    for recipe in trained:
        yield from _crop_faults(recipe)
    yield from _evaluation_faults(study, trained)


def _crop_faults(recipe: RunRecipe) -> Iterator[str]:
    views, method = recipe.augmentation, recipe.method
    assert views is not None
    assert method is not None
    crops = {}
    if views.local_views:
        crops[f"augmentations.{recipe.augmentation_name}.local_size"] = getattr(views, "local_size", views.global_size)
    for extra in method.equivariance.extra_views():
        if extra.size is not None:
            crops[f"methods.{recipe.method_name}.equivariance: the view {extra.name}"] = extra.size
    for key, size in crops.items():
        reason = refusal(recipe.backbone, size)
        if reason is not None:
            yield f"{key}: crops of {size} px do not fit backbones.{recipe.backbone_name}: {reason}"


def _evaluation_faults(study: Study, trained: list[RunRecipe]) -> Iterator[str]:
    pairs = {(recipe.data, recipe.backbone_name): recipe.backbone for recipe in trained}
    for protocol, options in study.evaluation_options().items():
        given: int | None = getattr(options, "image_size", None)
        other = options.evaluation_data()
        for (own, name), backbone in pairs.items():
            data = other or own
            # A protocol with its own images never sees the stored ones.
            size = given if isinstance(options, ExternalOptions) else given or stored_side(study.data[data])
            reason = None if size is None else refusal(backbone, size)
            if reason is not None:
                origin = "" if given else f", the stored size of data.{data},"
                yield (
                    f"evaluations.{protocol}.image_size: images of {size} px{origin} do not fit backbones.{name}: "
                    f"{reason}"
                )
            last, blocks = options.most_last_blocks(), facts(backbone).blocks
            if last is not None and blocks is not None and last > blocks:
                yield (
                    f"evaluations.{protocol}.last_blocks: {last} blocks were requested, but backbones.{name} "
                    f"({backbone.name}) has {blocks}; set it to {blocks} or less"
                )
