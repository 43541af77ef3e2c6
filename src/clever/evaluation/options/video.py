"""Options of protocol ``video``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from clever.evaluation.options.external import ExternalOptions


class VideoOptions(ExternalOptions):
    """The sequences, and the propagation of labels. The defaults are the paper's and DINO's."""

    split: Literal["val", "train"] = "val"
    """The list of sequences, ImageSets/2017/<split>.txt; without the list, all sequences are used."""
    resolution: str = "480p"
    """Folder of the frames and annotations."""
    frames: NonNegativeInt = 7
    """Number of frames before the current one that provide labels, in addition to the first."""
    window: NonNegativeInt = 12
    """Patches are compared if they are at most this many rows and columns apart; 0 compares all."""
    neighbours: PositiveInt = 5
    """Number of most similar patches in these frames that contribute labels."""
    temperature: PositiveFloat = 0.1
    """Temperature of the affinity exp(cosine / temperature)."""
    short_side: PositiveInt = 480
    """Shorter side of the frames at the input of the backbone; 240 for CPU studies (a quarter of the patches)."""
    multiple: PositiveInt = 64
    """The longer side is reduced to a multiple of this many pixels."""
    longest: PositiveInt | None = None
    """Use only the first frames of each sequence, this many, for CPU studies; omit to use whole sequences."""

    def require(self) -> None:
        from clever.evaluation.video.davis import require_layout  # reading a study needs no images

        require_layout(Path(self.root), self.resolution)
