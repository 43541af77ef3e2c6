"""Options of DCL and DCLW."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.baselines.options.contrast import ContrastiveOptions


class DclOptions(ContrastiveOptions):
    """DCL's settings; the temperature is the one used by lightly and by the unofficial
    raminnakhli/Decoupled-Contrastive-Learning."""

    name: Literal["dcl"] = "dcl"
    temperature: float = Field(default=0.1, gt=0)
    """Temperature: it divides the cosines. It matters less than in SimCLR, because the denominator excludes the
    positive."""


class DclwOptions(ContrastiveOptions):
    """DCLW's settings; temperature and sigma are taken from the unofficial raminnakhli/Decoupled-Contrastive-Learning
    and from lightly."""

    name: Literal["dclw"] = "dclw"
    temperature: float = Field(default=0.1, gt=0)
    """Temperature: it divides the cosines."""
    sigma: float = Field(default=0.5, gt=0)
    """Temperature of the weights. The lower it is, the less weight already similar pairs get."""
