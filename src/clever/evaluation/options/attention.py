"""Options of protocol ``attention``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from clever.evaluation.options.external import PicturedOptions


class AttentionOptions(PicturedOptions):
    """The photographs, and the size at which the backbone sees them."""

    layout: Literal["ecssd", "duts", "dut_omron", "pets"] = "ecssd"
    """The data set at root: ECSSD, the test images of DUTS, DUT-OMRON, or the Oxford-IIIT pets with their trimaps."""
    image_size: PositiveInt = 480
    """Photographs are resized to a square of this side (the paper: 480), a multiple of the ViT's patch size."""
    mass: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Share of a map's sum that its mask contains (DINO: 0.6)."""

    def require(self) -> None:
        from clever.evaluation.saliency.datasets import require_layout  # reading a study needs no images

        require_layout(Path(self.root), self.layout)
