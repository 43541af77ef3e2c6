"""Facts about a backbone that follow from its options alone: the images that it accepts and its kinds of layers.

For the project's own names the facts are listed here, so that checking a study does not wait seconds for timm to load;
a test compares them with the built networks. Any other timm model is built on the meta device and tried with one image.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from clever.backbones.options import OWN_NAMES, BackboneOptions
from clever.errors import UserError

_VIT_BLOCKS = {"vit_tiny": 12, "vit_small": 12, "vit_micro": 4}
_RESNET_MAPS = 5
_RESNETS = ("resnet18", "resnet50", "resnet10t_half")


@dataclass(frozen=True)
class Facts:
    """``blocks``: number of transformer blocks, if it has a class token, else None; ``batch_norm``: whether it has
    BatchNorm; ``maps``: number of feature maps (``Backbone.feature_map_widths``)."""

    blocks: int | None
    batch_norm: bool
    maps: int


def default_patch(image_size: int) -> int:
    """Side of a patch if ``patch_size`` is not set."""
    return 4 if image_size <= 32 else 8 if image_size <= 64 else 16


def facts(options: BackboneOptions) -> Facts:
    """The facts of a backbone.

    Raises:
        UserError: the options are not supported.
    """
    if options.name in OWN_NAMES:
        blocks, is_resnet = _VIT_BLOCKS.get(options.name), options.name in _RESNETS
        return Facts(blocks, is_resnet, _RESNET_MAPS if is_resnet else blocks or 0)
    from clever.backbones.trial import built

    network = built(options)
    return Facts(network.blocks, network.batch_norm, network.maps)


def refusal(options: BackboneOptions, size: int | None = None) -> str | None:
    """The reason why a backbone cannot be built, or cannot accept images of ``size`` x ``size`` pixels; None if it
    can."""
    if options.name not in OWN_NAMES:
        return _refusal_by_trial(options, options.image_size if size is None else size)
    is_vit, is_resnet = options.name in _VIT_BLOCKS, options.name in _RESNETS
    if options.patch_size is not None and not is_vit:
        return f"{options.name} has no patch_size: only timm's ViT class has one; leave it out"
    if options.stem == "small" and not is_resnet:
        return f"{options.name} has no small stem: only timm's ResNets have one; leave stem at auto"
    if is_vit:
        patch = options.patch_size or default_patch(options.image_size)
        for side in (options.image_size, size):
            if side is not None and side % patch:
                return f"{options.name} cuts images into patches of {patch} px, which do not divide {side} px"
    return None


@functools.cache
def _refusal_by_trial(options: BackboneOptions, size: int) -> str | None:
    from clever.backbones.trial import try_image

    try:
        return try_image(options, size)
    except UserError as error:
        return str(error)
