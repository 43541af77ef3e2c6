"""Options of MV-DHEL."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.baselines.options.contrast import ContrastiveOptions


class MvDhelOptions(ContrastiveOptions):
    """MV-DHEL's settings; the defaults are the authors' for CIFAR-10 and ImageNet-100."""

    accepts_local_views = True

    name: Literal["mv_dhel"] = "mv_dhel"
    temperature: float = Field(default=0.5, gt=0)
    """Temperature: it divides the cosines. The authors use 0.5 for 200 epochs of CIFAR-10 or ImageNet-100, 0.1 for
    ImageNet-1k."""
