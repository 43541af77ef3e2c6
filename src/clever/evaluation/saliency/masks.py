"""Compute a mask in a photograph's pixels with a backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clever.backbones import Backbone
from clever.errors import UserError
from clever.evaluation.saliency.datasets import resize_to_patches
from clever.evaluation.saliency.discovery import Method, lost, token_cut

Source = Literal["keys", "map"]


def patch_features(
    backbone: Backbone, images: Tensor, source: Source = "keys", columns: slice | Tensor | None = None
) -> Tensor:
    """The features that TokenCut and LOST compare: [N, rows, columns, D] of normalised images [N, 3, H, W].

    Args:
        backbone: in evaluation mode, on the images' device.
        images: sides are multiples of the backbone's patch or stride.
        source: ``keys``: the keys of a ViT's last block, as in TokenCut; a backbone without keys gives its map.
            ``map``: the last map (a ViT's patch tokens). Each image's mean is subtracted from its map, because after a
            ReLU all vectors have positive cosines, and all patches would seem similar.
        columns: the map's channels to compare (:func:`part_selections` of one block); None: all. Keys are not part of
            the representation and cannot be split.

    Raises:
        UserError: the backbone has neither keys nor a map, or columns are given and the backbone does not pool its map.
        ValueError: columns of keys are requested.
    """
    if source == "keys" and backbone.has_blocks:
        if columns is not None:
            raise ValueError("keys cannot be split into parts: use source map")
        keys = backbone.keys(images)
        height, width = images.shape[2:]
        patch = math.sqrt(height * width / keys.shape[1])
        return keys.reshape(len(keys), round(height / patch), round(width / patch), -1)
    maps = backbone.last_map(images).movedim(1, -1)
    if columns is not None and maps.shape[-1] != backbone.feature_dim:
        raise UserError(
            f"backbone {backbone.name}: its last map has {maps.shape[-1]} channels, its representation "
            f"{backbone.feature_dim}: parts of the map are not parts of the representation"
        )
    chosen = maps if columns is None else maps[..., columns]
    return chosen - chosen.mean(dim=(1, 2), keepdim=True)


@torch.no_grad()
def map_stride(backbone: Backbone) -> int:
    """Number of pixels per position of the backbone's last map, along each side: a ViT's patch size.

    Raises:
        UserError: the backbone has no map.
    """
    side = 224  # a multiple of the usual strides and patch sizes, including 14
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    return side // backbone.last_map(torch.zeros(1, 3, side, side, device=device)).shape[2]


@torch.no_grad()
def coarse_mask(
    backbone: Backbone,
    pixels: NDArray[np.uint8],
    *,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    method: Method = "tokencut",
    threshold: float = 0.2,
    source: Source = "keys",
    columns: slice | Tensor | None = None,
    device: torch.device | str = "cpu",
) -> NDArray[np.bool_]:
    """The salient object of one photograph uint8 [H, W, 3], bool [H, W]: whole patches, before any bilateral solver.

    Args:
        backbone: in evaluation mode, on ``device``.
        patch: the photograph's sides are resized to multiples of it: a ViT's patch, a convolutional network's stride.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        method: ``tokencut`` or ``lost``.
        threshold: TokenCut's threshold.
        source, columns: as for :func:`patch_features`.
    """
    resized = torch.from_numpy(resize_to_patches(pixels, patch).copy()).to(device)
    images = resized.permute(2, 0, 1)[None].float() / 255
    shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
    [features] = patch_features(backbone, (images - shift) / scale, source, columns).float()
    mask = token_cut(features, threshold) if method == "tokencut" else lost(features)
    return enlarge(mask, pixels.shape[0], pixels.shape[1])


def enlarge(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Enlarge a mask of patches to pixels [height, width]; each pixel takes the value of the nearest patch."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(large) > 127
