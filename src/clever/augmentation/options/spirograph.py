"""Options of views that are two drawings of a spirograph."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from clever import spirograph
from clever.augmentation.options.views import ViewOptions


class SpirographViewOptions(ViewOptions):
    """Two views of a spirograph, drawn from its data parameters and fresh nuisances."""

    source: ClassVar[str | None] = "spirograph"
    augments: ClassVar[bool] = False

    name: Literal["spirograph"] = "spirograph"
    """Views drawn by formula; only for data of source spirograph."""

    nuisances: tuple[spirograph.Name, ...] = Field(default=spirograph.NUISANCES, min_length=1)
    """The latents that are redrawn for every view, on which features should not depend. The views of an image share all
    other latents. Change it to study another partition of the ten latents than the paper's."""

    global_size: Literal[32] = 32
    """Side of the views in pixels. The formula supports no other."""
    local_views: Literal[0] = 0
    """There are two views and no local ones."""

    @field_validator("nuisances")
    @classmethod
    def _is_a_part_of_the_ten(cls, names: tuple[spirograph.Name, ...]) -> tuple[spirograph.Name, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed more than once")
        if len(names) == len(spirograph.NAMES):
            raise ValueError(
                "all ten latents are nuisances, so the views of an image would share nothing; leave one out"
            )
        return names
