"""View makers and parameter spaces from options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clever.augmentation import VIEW_MAKERS
from clever.augmentation.options.views import ExtraView, ViewOptions
from clever.augmentation.views import ParameterSpace, ViewMaker
from clever.errors import UserError
from clever.implementation import implementation


def make_view_maker(
    options: ViewOptions,
    mean: Sequence[float],
    std: Sequence[float],
    channels_last: bool = False,
    extra: Sequence[ExtraView] = (),
    shared_draws: int = 1,
) -> ViewMaker:
    """The view maker for these options.

    Args:
        options: an instance of one of the classes of ``VIEW_MAKERS``.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        channels_last: return the views in channels-last memory format.
        extra: additional views of every image; only for options that augment.
        shared_draws: number of consecutive images that share the parameters of the augmentation's views; 1: no sharing,
            the only choice for options that do not augment.

    Raises:
        UserError: the options do not augment, but extra views or shared draws are requested.
    """
    if shared_draws > 1 and not options.augments:
        raise UserError(f"augmentation {options.name} cannot share view parameters among {shared_draws} images")
    kind: Callable[..., ViewMaker] = implementation(VIEW_MAKERS[type(options)])
    maker = kind(options, mean, std, channels_last, extra)
    maker.shared_draws = shared_draws
    return maker


def parameter_space(options: ViewOptions) -> ParameterSpace:
    """The parameter space of the views that these options describe; a pure function of the options."""
    return make_view_maker(options, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).space
