"""Training recipes and perturbations, batched on the device; they hand back the parameters that they drew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clever.augmentation.options import AugmentationOptions
from clever.augmentation.pairs import PairViewOptions, PairViews
from clever.augmentation.perturbations import (
    PERTURBATIONS,
    PerturbationOptions,
    perturb,
    perturbation_parameters,
)
from clever.augmentation.probe import probe_views
from clever.augmentation.recipes import Augmentation
from clever.augmentation.sample import Table
from clever.augmentation.spirograph import SpirographViewOptions, SpirographViews
from clever.augmentation.views import ExtraView, ParameterSpace, View, ViewMaker, ViewOptions, chunk_views

VIEW_MAKERS: dict[type[ViewOptions], Callable[..., ViewMaker]] = {
    AugmentationOptions: Augmentation,
    SpirographViewOptions: SpirographViews,
    PairViewOptions: PairViews,
}
"""What makes the views that each kind of options describes."""


def make_view_maker(
    options: ViewOptions,
    mean: Sequence[float],
    std: Sequence[float],
    channels_last: bool = False,
    extra: Sequence[ExtraView] = (),
) -> ViewMaker:
    """The view maker of these options.

    Args:
        options: an instance of one of the classes of ``VIEW_MAKERS``.
        mean, std: of the three channels, for pixels in [0, 1].
        channels_last: lay the views out for convolutions.
        extra: further views of every image; only for options that augment.
    """
    return VIEW_MAKERS[type(options)](options, mean, std, channels_last, extra)


def parameter_space(options: ViewOptions) -> ParameterSpace:
    """The space of the parameters of the views that these options describe; a pure function of them."""
    return make_view_maker(options, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).space


__all__ = [
    "PERTURBATIONS",
    "VIEW_MAKERS",
    "Augmentation",
    "AugmentationOptions",
    "ExtraView",
    "PairViewOptions",
    "PairViews",
    "ParameterSpace",
    "PerturbationOptions",
    "SpirographViewOptions",
    "SpirographViews",
    "Table",
    "View",
    "ViewMaker",
    "ViewOptions",
    "chunk_views",
    "make_view_maker",
    "parameter_space",
    "perturb",
    "perturbation_parameters",
    "probe_views",
]
