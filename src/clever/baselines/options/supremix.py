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
    """SupReMix's settings; the defaults are from the authors' code, except for the projector, which is SimCLR's."""

    reads_samples = True

    name: Literal["supremix"] = "supremix"
    temperature: float = Field(default=0.3, gt=0)
    """Temperature: it divides the cosines."""
    target: spirograph.Name | ThreediebenchName | None = None
    """The latent to regress, with the data source spirograph or threediebench. null: the label itself, the class index,
    which is only meaningful if the classes are ordered."""
    unit: float = Field(default=1.0, gt=0)
    """The unit by which targets are divided; the window and the weights of negatives are measured in it. The authors'
    unit is a year of age. Set it to about a hundredth of the target's range."""
    window: float = Field(default=5.0, gt=0)
    """Largest distance, in units, between an image's target and the targets of the two images that are mixed into a
    hard positive."""
    mixing_shape: tuple[PositiveInt, PositiveInt] = (2, 8)
    """Parameters of the beta distribution from which an image's own share in a hard negative is drawn. The authors also
    use (8, 2), which makes negatives harder, and (5, 5)."""
