"""Options of SimCLR."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clever.baselines.options.contrast import ContrastiveOptions

Negatives = Literal["both_views", "other_view"]


class SimclrOptions(ContrastiveOptions):
    """SimCLR's settings. The temperature's default is the authors' as we remember it; our sources do not contain their
    code. Every recipe sets its own temperature."""

    name: Literal["simclr"] = "simclr"
    temperature: float = Field(default=0.1, gt=0)
    """Temperature: it divides the cosines. On CIFAR-10, E-SSL, InvCLR and EquiMod use 0.5, solo-learn 0.2; on ImageNet,
    E-SSL and EquiMod use 0.2, as does solo-learn on ImageNet-100."""
    negatives: Negatives = "both_views"
    """both_views: both views of all other images are negatives (2N - 2), as in the paper. other_view: for each view,
    only the other images' other view provides negatives (N - 1), as in InfoNCE, CLIP and MoCo; choose it to compare
    with those."""
