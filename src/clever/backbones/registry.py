"""Backbones by name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from pathlib import Path

import timm
import torch

from clever.backbones.backbone import Backbone
from clever.backbones.options import BackboneOptions
from clever.backbones.pixels import Pixels
from clever.backbones.timm_backbone import build_other, build_resnet, build_vit
from clever.backbones.vmamba import build_vmamba
from clever.errors import UserError
from clever.randomness import derive_seed, seeded

BACKBONES: dict[str, Callable[[BackboneOptions], Backbone]] = {
    "resnet18": lambda options: build_resnet(options, {"model_name": "resnet18"}),
    "resnet50": lambda options: build_resnet(options, {"model_name": "resnet50"}),
    "vit_tiny": lambda options: build_vit(options, {"model_name": "vit_tiny_patch16_224"}),
    "vit_small": lambda options: build_vit(options, {"model_name": "vit_small_patch16_224"}),
    "vmamba_tiny": build_vmamba,
    # For demonstrations on a CPU: 1.2 M parameters, 256 features, about 2,000 images/s forward and backward at 32 px on
    # one core.
    "resnet10t_half": lambda options: build_resnet(
        options, {"model_name": "resnet10t", "channels": [32, 64, 128, 256], "stem_width": 16}
    ),
    # A transformer for demonstrations: 0.14 M parameters, 64 features, and twice the multiply-accumulates.
    "vit_micro": lambda options: build_vit(
        options, {"model_name": "vit_tiny_patch16_224", "embed_dim": 64, "depth": 4, "num_heads": 2, "mlp_ratio": 2}
    ),
    "pixels": Pixels,
}
"""All backbones with settings of this project; any other name is looked up in timm."""


def build_backbone(options: BackboneOptions, *, seed: int | None) -> Backbone:
    """Build a freshly initialised backbone on the CPU, in training mode.

    Its parameters are a pure function of ``seed`` and the options; the global random state does not change. With
    ``seed`` None they are drawn from the global state, for callers that load weights afterwards.

    Raises:
        UserError: the name is unknown (the message lists the nearest known ones), or the backbone does not support the
            options.
    """
    check_name(options.name)
    build = BACKBONES.get(options.name, build_other)
    if seed is None:
        return build(options)
    with seeded(derive_seed(seed, "backbone")):
        return build(options)


@functools.cache
def map_refusal(options: BackboneOptions) -> str | None:
    """The reason why a backbone has no last map, or None if it has one. It is built on the meta device, so nothing is
    computed."""
    try:
        with torch.device("meta"):
            backbone = build_backbone(options, seed=None).eval()
            backbone.last_map(torch.zeros(1, 3, options.image_size, options.image_size))
    except NotImplementedError:  # the constructor computes with values; a fault is reported when the backbone is built
        return None
    except UserError as error:
        return str(error)
    return None


def check_name(name: str) -> None:
    """Check that a backbone of this name can be built.

    Raises:
        UserError: it cannot; the message lists the nearest names that can.
    """
    if name not in BACKBONES and not timm.is_model(name):
        near = difflib.get_close_matches(
            name, list({**BACKBONES, **dict.fromkeys(timm.list_models())}), n=3, cutoff=0.4
        )
        raise UserError(
            f"backbone {name}: no such name; nearest: {', '.join(near) or 'none'} "
            f"(own names: {', '.join(BACKBONES)}; or any timm model)"
        )


def load_backbone(options: BackboneOptions, path: str | Path) -> Backbone:
    """Load the backbone that ``Backbone.save`` wrote to ``path``, on the CPU, in evaluation mode.

    Raises:
        UserError: the file is missing, is damaged or does not belong to these options.
    """
    backbone = build_backbone(options, seed=0)
    backbone.load(path)
    return backbone.eval()
