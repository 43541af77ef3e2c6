"""A control without learning, whose representation is the image itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from clever.backbones.backbone import Backbone
from clever.backbones.options import BackboneOptions
from clever.errors import UserError


class Pixels(Backbone):
    """Flattens normalised images [N, 3, H, W] to [N, 3·H·W], channel by channel; it has no parameters.

    The difference between a trained backbone's score and this one's is what pre-training and architecture contribute.
    """

    def __init__(self, options: BackboneOptions) -> None:
        super().__init__(options.name, 3 * options.image_size**2)
        self.image_size = options.image_size

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise UserError(
                f"backbone pixels needs images of {self.image_size} px, not {height}x{width}: they determine its width"
            )
        # reshape ignores the memory order, so channels-last images give the same vector.
        return images.reshape(len(images), -1)

    def _description(self) -> dict[str, Any]:
        return {"create_model": None, "stem": f"{self.image_size} px", "loading": None}
