"""The base class of all view makers' options, and the additional views that add-ons request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clever.options import Options

FIRST, SECOND = "global_1", "global_2"
"""Names of the two global views (:attr:`clever.augmentation.views.ViewMaker.names`)."""


@dataclass(frozen=True)
class ExtraView:
    """An additional view of every image that an equivariance add-on requests."""

    name: str
    size: int | None = None
    """Side in pixels; None: the augmentation's global size."""
    scale: tuple[float, float] | None = None
    """Share of the image's area that the crop covers; all other parameters are drawn as for the augmentation's local
    views. None: the un-augmented image, that is, its central square, resized."""
    shared_draws: int = 1
    """Number of consecutive images of a batch that share the parameters of this view; 1: no sharing. Crops are shared
    as fractions of an image's height and width, so images of equal size get the same box."""
    colours_only: bool = False
    """Omit flips, rotations and elastic distortions."""
    crop_of: str | None = None
    """Name of an earlier extra view whose crop this view shares; None: a separate crop."""


class ViewOptions(Options):
    """Options of a view maker; ``name`` chooses it."""

    source: ClassVar[str | None] = None
    """The only data source that it supports; None: any source."""
    pairs: ClassVar[bool] = False
    """True: a batch holds two photographs of every object instead of one of every image."""
    augments: ClassVar[bool] = True
    """Whether it augments images and can therefore make an :class:`ExtraView`."""

    name: str
    global_size: int
    local_views: int
