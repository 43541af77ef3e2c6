"""Options of protocol ``saliency``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from clever.evaluation.options.external import PicturedOptions


class SaliencyOptions(PicturedOptions):
    """The photographs, and the method that finds their objects. The defaults are TokenCut's."""

    layout: Literal["ecssd", "duts", "dut_omron", "pets"] = "ecssd"
    """The data set at root: ECSSD, the test images of DUTS, DUT-OMRON, or the Oxford-IIIT pets with their trimaps. Add
    the others as variants."""
    source: Literal["keys", "map"] = "keys"
    """keys: a ViT's keys of its last block (TokenCut); other backbones use their last map. map: the last map, a ViT's
    patch tokens, which can be split into IR and EF."""
    threshold: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.2
    """Cosine above which TokenCut considers two patches similar."""
    bilateral_solver: bool = True
    """Also report TokenCut's masks after the bilateral solver has aligned them with the photograph's edges."""
    lost: bool = True
    """Report LOST as well."""
    stride: PositiveInt | None = None
    """The photographs' sides are resized to multiples of this number; omit to use the stride of the backbone's last
    map, which is a ViT's patch size."""

    def require(self) -> None:
        from clever.evaluation.saliency.datasets import require_layout  # reading a study needs no images

        require_layout(Path(self.root), self.layout)
