"""Attention maps of a ViT: the attention of the last block's [CLS] token to the patches, for each head.

The paper's figure (visualize_attention.py) shows the mean over heads; DINO's figure shows each head, and the patches
that hold 60 % of its attention.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clever.backbones import Backbone

MASS = 0.6
"""Share of a head's attention that DINO's masks keep."""


@torch.no_grad()
def class_attention(backbone: Backbone, images: Tensor) -> Tensor:
    """Attention of the last block's [CLS] token to each patch, float [N, heads, rows, columns].

    A row of attention sums to 1 over [CLS] and patches, so the patches alone sum to less.

    Args:
        backbone: in evaluation mode, on the images' device; its patches are square.
        images: normalised [N, 3, H, W].

    Raises:
        UserError: the backbone has no attention with a [CLS] token.
    """
    attention = backbone.attention(images)
    height, width = images.shape[2:]
    # Prefix tokens come first: [CLS], then registers if the ViT has them.
    patches = backbone.patch_tokens(images[:1]).shape[1]
    patch = math.sqrt(height * width / patches)
    rows = attention[:, :, 0, attention.shape[3] - patches :]
    return rows.reshape(*rows.shape[:2], round(height / patch), round(width / patch))


def mean_over_heads(attention: Tensor) -> Tensor:
    """[N, heads, rows, columns] to [N, rows, columns], each head first stretched to [0, 1] as the authors do."""
    return stretch(attention).mean(dim=1)


def stretch(maps: Tensor) -> Tensor:
    """Maps [..., rows, columns], each shifted and scaled to [0, 1]; a constant map becomes 0."""
    least, most = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - least) / (most - least).clamp_min(torch.finfo(maps.dtype).tiny)


def mass_mask(maps: Tensor, share: float = MASS) -> Tensor:
    """The patches that hold a share of each map's sum, most attended first: bool, of the same shape.

    As in DINO, patches are added up from the least attended; a patch is dropped while the sum is at most 1 - ``share``.

    Args:
        maps: non-negative [..., rows, columns].
        share: in (0, 1).
    """
    flat = maps.flatten(-2).double()
    values, order = flat.sort(dim=-1, stable=True)
    kept = values.cumsum(dim=-1) > (1.0 - share) * values.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept).view(maps.shape)
