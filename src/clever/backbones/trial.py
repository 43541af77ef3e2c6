"""A backbone on no device, given one image: whether it can be made, and which sizes it takes."""

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
    """A network on no device (``meta``), or None where it computes with values while it is built."""

    backbone: Backbone | None
    blocks: int | None
    batch_norm: bool


@functools.cache
def built(options: BackboneOptions) -> Built:
    """The network of some options.

    Raises:
        UserError: the options cannot be served.
    """
    try:
        with torch.device("meta"):
            backbone = build_backbone(options, seed=None)
    except NotImplementedError:
        return Built(None, None, False)
    blocks = getattr(getattr(backbone, "network", None), "blocks", None)
    return Built(
        backbone.eval(),
        len(blocks) if backbone.has_blocks and blocks is not None else None,
        any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules()),
    )


def try_image(options: BackboneOptions, size: int) -> str | None:
    """Why the backbone fails on an image of ``size`` x ``size`` pixels; None where it does not, or nobody can tell.

    Raises:
        UserError: the options cannot be served.
    """
    backbone = built(options).backbone
    if backbone is None:
        return None
    try:
        with torch.no_grad(), torch.device("meta"):
            backbone(torch.zeros(2, 3, size, size))
    except UserError as error:
        return str(error)
    except NotImplementedError:  # an operation that is not written for no device
        return None
    except Exception as error:  # each family fails in its own way
        text = " ".join(str(error).split())[:150]
        return f"{options.name} cannot take images of {size} px ({text or type(error).__name__})"
    return None
