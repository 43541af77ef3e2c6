"""Try a backbone on the meta device with one image: whether it can be built, and which sizes it accepts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn

from clever.backbones.backbone import Backbone
from clever.backbones.options import BackboneOptions
from clever.backbones.registry import build_backbone
from clever.errors import UserError


@dataclass(frozen=True)
class Built:
    """A network on the meta device, or None if its constructor computes with values."""

    backbone: Backbone | None
    blocks: int | None
    batch_norm: bool
    maps: int


@functools.cache
def built(options: BackboneOptions) -> Built:
    """Build the network of these options.

    Raises:
        UserError: the options are not supported.
    """
    try:
        with torch.device("meta"):
            backbone = build_backbone(options, seed=None)
    except NotImplementedError:
        return Built(None, None, False, 0)
    blocks = getattr(getattr(backbone, "network", None), "blocks", None)
    return Built(
        backbone.eval(),
        len(blocks) if backbone.has_blocks and blocks is not None else None,
        any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules()),
        len(backbone.feature_map_widths),
    )


def try_image(options: BackboneOptions, size: int) -> str | None:
    """The reason why the backbone fails on an image of ``size`` x ``size`` pixels; None if it does not fail, or if that
    is unknown.

    Raises:
        UserError: the options are not supported.
    """
    backbone = built(options).backbone
    if backbone is None:
        return None
    try:
        with torch.no_grad(), torch.device("meta"):
            backbone(torch.zeros(2, 3, size, size))
    except UserError as error:
        return str(error)
    except NotImplementedError:  # an operation without a meta implementation
        return None
    except Exception as error:  # each family of models raises different exceptions
        text = " ".join(str(error).split())[:150]
        return f"{options.name} cannot accept images of {size} px ({text or type(error).__name__})"
    return None
