"""What add-ons that read the parameters of views need of their space."""

from __future__ import annotations

from clever.augmentation import ParameterSpace
from clever.errors import UserError


def varied_space(name: str, space: ParameterSpace | None) -> ParameterSpace:
    """The space, if views differ in it.

    Args:
        name: of the add-on, for the message.
        space: of the run's views.

    Raises:
        UserError: there is none, or no parameter of the views ever changes.
    """
    if space is None or not space.names:
        raise UserError(
            f"{name} reads what was drawn for each view, and of these views nothing is; let the augmentation change "
            "something (crop, flip, colour)"
        )
    return space
