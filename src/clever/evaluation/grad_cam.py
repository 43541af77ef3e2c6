"""Attention of a convolutional network: Grad-CAM (Selvaraju et al. 2017) on its last map, for a part of its output.

A backbone has no classes to explain. Instead, the map explains the whole representation, or IR or EF alone: the target
is the inner product of that part with its detached value. For a pooled map, this weights each position by its agreement
with the whole part. captum computes the gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.errors import UserError
from clever.evaluation.parts import Selection


def grad_cam(backbone: Backbone, images: Tensor, columns: Selection | None = None) -> Tensor:
    """Grad-CAM of each image: non-negative float32 [N, rows, columns] on the grid of the last map.

    Args:
        backbone: in evaluation mode, on the images' device; its representation is its last map, pooled.
        images: normalised [N, 3, H, W].
        columns: the part of the representation to explain (:func:`part_selections` of one block); None means all.

    Raises:
        UserError: captum is not installed, or the representation is not the mean of the last map.
    """
    try:
        from captum.attr import LayerGradCam
    except ImportError as error:
        raise UserError("Grad-CAM needs captum: pip install 'clever-ssl[evaluation]'") from error
    model = _PooledMap(backbone, columns)
    with torch.no_grad():
        pooled, output = model.pooled(images[:1]), backbone(images[:1])
    if pooled.shape != output.shape or not torch.allclose(pooled, output, rtol=1e-3, atol=1e-4):
        raise UserError(
            f"backbone {backbone.name}: its representation is not its last map pooled, so Grad-CAM cannot separate its "
            "parts; choose a ResNet or a VMamba, or attention for a ViT"
        )
    with torch.enable_grad():
        maps: Tensor = LayerGradCam(model, model.layer).attribute(images, relu_attributions=True)
    return maps[:, 0].detach().float()


class _PooledMap(nn.Module):
    """Wraps a backbone: its last map is the output of a layer, and its output is Grad-CAM's target, [N]."""

    def __init__(self, backbone: Backbone, columns: Selection | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.layer = nn.Identity()
        self._columns: Selection = slice(None) if columns is None else columns

    def pooled(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(self.backbone.last_map(images)).mean((2, 3))
        return features

    def forward(self, images: Tensor) -> Tensor:
        part = self.pooled(images)[:, self._columns]
        return (part * part.detach()).sum(dim=1)
