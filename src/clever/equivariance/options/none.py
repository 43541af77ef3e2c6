"""No equivariance: options of the baseline alone."""

from __future__ import annotations

from typing import Literal

from clever.equivariance.options.equivariance import EquivarianceOptions


class NoneOptions(EquivarianceOptions):
    """There are no options."""

    name: Literal["none"] = "none"
