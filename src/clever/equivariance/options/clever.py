"""Options of CLeVER."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.equivariance.options.ddcl import SplitOptions


class CleverOptions(SplitOptions):
    """CLeVER's settings; the defaults are the paper's (authors' main_dino.py:130-140, run.sh)."""

    name: Literal["clever"] = "clever"
    head_norm_weight: float = Field(default=0.001, ge=0)
    """Weight of the head-norm regulariser (the authors' reg_lambd). It prevents either head from collapsing."""
    head_norm_last_layer: bool = True
    """Whether the regulariser includes the heads' last layers, as the authors' does. Turn it off when the two heads
    have different output widths, because the widths would then dominate the regulariser."""
