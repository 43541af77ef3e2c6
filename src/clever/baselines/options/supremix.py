"""Options of SupReMix."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever import spirograph
from clever.baselines.options.contrast import ContrastiveOptions

ThreediebenchName = Literal[
    "rotation_x", "rotation_y", "rotation_z", "floor_hue", "light_theta", "light_phi", "light_hue"
]


class SupremixOptions(ContrastiveOptions):
    """SupReMix's settings; the defaults are those of the authors' code, except for the projector, which is SimCLR's."""

    reads_samples = True

    name: Literal["supremix"] = "supremix"
    temperature: float = Field(default=0.3, gt=0)
    """Temperature: it divides the cosines."""
    target: spirograph.Name | ThreediebenchName | None = None
    """The latent to regress, of data source spirograph or threediebench. null: the label itself, a class's number; only
    meaningful where the classes are ordered."""
    unit: float = Field(default=1.0, gt=0)
    """What targets are divided by; the window and the weights of negatives count in it. The authors count years of age.
    Set it to about a hundredth of the target's range."""
    window: float = Field(default=5.0, gt=0)
    """How many units below and above an image's target the two images may be that make a hard positive."""
    mixing_shape: tuple[PositiveInt, PositiveInt] = (2, 8)
    """Shape of the beta distribution of the image's own share in a hard negative. The authors also use (8, 2), which
    makes negatives harder, and (5, 5)."""
