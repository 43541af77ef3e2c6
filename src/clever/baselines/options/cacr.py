"""Options of CACR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.baselines.options.contrast import ProjectorOptions


class CacrOptions(ProjectorOptions):
    """CACR's settings; the defaults are the authors' for CIFAR-10, except for the projector: their small network ends
    with the normalised embedding itself, and our sources do not contain its projector."""

    accepts_local_views = True

    name: Literal["cacr"] = "cacr"
    attraction_weight: float = Field(default=1.0, ge=0)
    """Weight of the attraction (the authors' alpha)."""
    repulsion_weight: float = Field(default=1.0, ge=0)
    """Weight of the repulsion (the authors' beta)."""
    attraction_temperature: float = Field(default=1.0, ge=0)
    """How much more a distant positive weighs than a near one (the authors' t+). 0 weighs them equally; with two views
    there is only one positive, and it has no effect."""
    repulsion_temperature: float = Field(default=0.9, ge=0)
    """How much more a near negative weighs than a distant one (the authors' t-). 0 weighs them equally."""
