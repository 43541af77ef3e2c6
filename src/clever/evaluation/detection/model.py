"""torchvision's Mask R-CNN with a feature pyramid on any backbone that has maps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from clever.backbones import Backbone
from clever.errors import UserError

CHANNELS = 256
"""Channels of every level of the pyramid."""
_RESCALES = (4.0, 2.0, 1.0, 0.5)


class PyramidBackbone(nn.Module):
    """A backbone's maps as the pyramid that torchvision's detectors expect.

    A timm network with stages passes its last four maps to a feature pyramid network (Lin et al. 2017). Any other
    backbone passes its last map at four scales: 4, 2, 1 and 1/2 times the map's size (Li et al. 2022, ViTDet, with
    bilinear rescaling in place of transposed convolutions).

    Args:
        backbone: its parameters are frozen if ``frozen``. Its batch normalisation always uses the running statistics,
            because two images per device are too few to measure statistics.
    """

    def __init__(self, backbone: Backbone, frozen: bool) -> None:
        super().__init__()
        self.out_channels = CHANNELS
        self.backbone = backbone
        self._frozen = frozen
        for parameter in backbone.parameters():
            parameter.requires_grad_(not frozen)
        self._stages = _has_stages(backbone)
        with torch.no_grad():
            widths = [level.shape[1] for level in self._levels(torch.zeros(1, 3, 64, 64, device=_device(backbone)))]
        self.fpn = FeaturePyramidNetwork(widths, CHANNELS, extra_blocks=LastLevelMaxPool())

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Set training mode for the pyramid only."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Normalised images [N, 3, H, W], sides multiples of 32, to five maps of 256 channels, the finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            levels = self._levels(images)
        pyramid: OrderedDict[str, Tensor] = self.fpn(OrderedDict((str(i), level) for i, level in enumerate(levels)))
        return pyramid

    def _levels(self, images: Tensor) -> list[Tensor]:
        if self._stages:
            network: Any = self.backbone.get_submodule("network")
            return list(network.forward_intermediates(images, 4, intermediates_only=True, output_fmt="NCHW"))
        last = self.backbone.last_map(images)
        return [
            last if scale == 1.0 else F.interpolate(last, scale_factor=scale, mode="bilinear", align_corners=False)
            for scale in _RESCALES
        ]


def _has_stages(backbone: Backbone) -> bool:
    """Whether the backbone is a convolutional timm network, whose maps shrink from stage to stage."""
    network = dict(backbone.named_children()).get("network")
    return not backbone.has_blocks and hasattr(network, "forward_intermediates")


def _device(backbone: Backbone) -> torch.device:
    parameter = next(backbone.parameters(), None)
    if parameter is None:
        raise UserError(f"backbone {backbone.name} has no feature map: detection needs a ResNet, a VMamba or a ViT")
    return parameter.device


def mask_rcnn(
    backbone: Backbone,
    categories: int,
    *,
    frozen: bool,
    mean: Sequence[float],
    std: Sequence[float],
    short_sides: Sequence[int] = (800,),
    longest_side: int = 1333,
) -> MaskRCNN:
    """A Mask R-CNN with new heads; all other settings are torchvision's.

    Args:
        backbone: used in place, not copied.
        categories: number of categories, without the background.
        frozen: whether the backbone keeps its weights.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        short_sides: a training image's shorter side is resized to one of these, drawn from torch's global generator;
            at test time to the last.
        longest_side: upper limit of the longer side.

    Raises:
        UserError: the backbone has no map.
    """
    body = PyramidBackbone(backbone, frozen)
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    return MaskRCNN(
        body,
        categories + 1,
        min_size=tuple(short_sides),
        max_size=longest_side,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=anchors,
    )
