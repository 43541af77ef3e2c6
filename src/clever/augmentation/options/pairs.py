"""Options of views that are two photographs of an object."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from clever.augmentation.options.views import ViewOptions


class PairViewOptions(ViewOptions):
    """Two photographs of every object, resized and normalised."""

    source: ClassVar[str | None] = "threediebench"
    pairs: ClassVar[bool] = True
    augments: ClassVar[bool] = False

    name: Literal["pairs"] = "pairs"
    """Photographs instead of augmentations; only for data of source threediebench."""

    relative: Literal["rotation", "rotation_and_colour"] = "rotation"
    """The transformation between the two photographs that add-ons receive: the relative rotation alone, or also the
    changes of hue, which is the paper's second setting."""

    global_size: PositiveInt = 256
    """Side of the views in pixels. The paper's photographs are 256; smaller views train faster."""
    local_views: Literal[0] = 0
    """There are two views and no local ones."""
