"""Backbones by name behind one interface: features, last blocks, patch tokens, attention, keys.

The registry is imported on first use, because importing timm takes seconds and reading a study needs no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clever.backbones.backbone import Backbone, DecayRule, read_description
from clever.backbones.options import BackboneOptions
from clever.backbones.representation import PAPER_RATIO, SPLITS, Split

if TYPE_CHECKING:
    from clever.backbones.registry import BACKBONES, build_backbone, load_backbone

__all__ = [
    "BACKBONES",
    "PAPER_RATIO",
    "SPLITS",
    "Backbone",
    "BackboneOptions",
    "DecayRule",
    "Split",
    "build_backbone",
    "load_backbone",
    "read_description",
]


def __getattr__(name: str) -> Any:
    if name in ("BACKBONES", "build_backbone", "load_backbone"):
        return getattr(importlib.import_module("clever.backbones.registry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
