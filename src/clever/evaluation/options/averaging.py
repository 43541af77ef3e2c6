"""Options of feature averaging (see :mod:`clever.evaluation.averaging`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field, PositiveInt

from clever.augmentation import VIEW_MAKERS, AugmentationOptions, ViewOptions
from clever.options import Options

if TYPE_CHECKING:
    AugmentationChoice = ViewOptions
else:
    # Pairs of photographs have no transformation of a single image.
    _KINDS = tuple(kind for kind in VIEW_MAKERS if not kind.pairs)
    AugmentationChoice = Annotated[Union[_KINDS], Field(discriminator="name")]  # noqa: UP007


class AveragingOptions(Options):
    """The number and kind of transformations over which an image's feature is averaged."""

    count: PositiveInt
    """Transformations per image: 100 for CIFAR and 30 for Spirograph in Foster et al.; 1 evaluates one random
    transformation of every image. An evaluation takes about this many times as long."""
    augmentation: AugmentationChoice = AugmentationOptions(name="caug", local_views=0)
    """The training augmentation whose first global view is drawn, usually the runs' augmentation. The view has the size
    of the evaluation; ``global_size`` and all settings of local views and the second global view are ignored.
    ``spirograph`` renders the image again from its latents instead of transforming it, so perturbations cannot be
    applied."""

    @property
    def renders(self) -> bool:
        """Whether the augmentation makes its views from latents and ignores the pixels."""
        return self.augmentation.source is not None
